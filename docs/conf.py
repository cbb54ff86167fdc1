"""Sphinx: `make docs` builds these pages, every warning an error."""

project = "sit2"
copyright = "the authors of sit2"  # noqa: A001 (Sphinx's name for it)
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "sit2"
myst_heading_anchors = 3
exclude_patterns = []
