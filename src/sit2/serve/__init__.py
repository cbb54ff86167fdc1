"""The HTTP face: a model behind an address, for programs and for a person with a browser."""
