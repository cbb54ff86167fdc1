"""The page as a file: nothing from outside, nothing unescaped, never too large, whatever the run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_run import change_json, random_run, write_images, write_json, write_run
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from synthetic import Finished, command, finished

from sit2.data.quality.findings import Finding, findings_json
from sit2.report.matrix import shades
from sit2.report.page import write_report

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "a\" onmouseover='x' & {{ 7*7 }}",
)
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "background", "formaction")


class Page(HTMLParser):
    """What a browser would take from a page: tags, attributes, texts, scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._inside: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self._inside[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._inside[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self):
        """What the heat map is drawn from."""
        return json.loads(self.scripts[0])


def page_of(run: Path, **options: float) -> Page:
    return Page(write_report(run, **options))


def check_page(page: Page) -> None:
    """No address outside the file, no code but the page's own, and links that lead somewhere."""
    ids = {attributes.get("id") for _, attributes in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ADDRESSES:
                assert (value or "").startswith(("data:", "#")), (tag, name, value)
            if name == "href" and (value or "").startswith("#"):
                assert value[1:] in ids, value
    style = "".join(re.findall(r"<style>(.*?)</style>", page.source, re.S))
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|innerHTML|https?://", page.scripts[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "images"), [(2, 60), (10, 200), (100, 400)])
def test_few_and_many_classes(tmp_path, classes, images):
    page = page_of(random_run(tmp_path / "run", classes, images, images=tmp_path / "images"))
    check_page(page)
    assert len(page.source) < 5e6
    assert page.data["classes"] == [f"class {k:03d}" for k in range(classes)]
    assert sorted(page.data["order"]) == list(range(classes))
    total = sum(n for _, _, n in page.data["matrices"][0])
    assert total == images
    assert ("The classes as a graph" in page.text) == (classes > 12)
    assert sum(image["src"] is not None for image in page.data["images"]) > 10


def test_pictures_give_way_where_there_is_no_room(tmp_path):
    run = random_run(tmp_path / "run", 10, 400, images=tmp_path / "images")
    small, large = (page_of(run, megabytes=size) for size in (0.6, 5))
    assert len(small.source) < 0.6e6 < len(large.source)
    assert len(small.data["images"]) == len(large.data["images"])
    assert "listed below without a picture" in small.text
    with_picture = [image["src"] for image in small.data["images"] if image["src"]]
    wrong = [image for image in small.data["images"] if image["src"] and image["by"][1][0] != image["label"]]
    assert wrong
    assert len(with_picture) < len(small.data["images"])


def test_names_are_text_and_nothing_else(tmp_path):
    labels = np.arange(60) % 3
    names = [f"{n}{HOSTILE[n % 3]}.png" for n in range(60)]
    run = write_run(tmp_path / "run", HOSTILE, labels, (labels + 1) % 3, labels, names=names)
    dataset = json.loads((run / "run.json").read_text())["dataset"] | {"name": HOSTILE[1]}
    change_json(run / "run.json", dataset=dataset, command=HOSTILE[1], error=HOSTILE[1], status="failed")
    write_json(run / "check.json", findings_json([Finding("ignored", "note", HOSTILE[1], HOSTILE[0])]))
    page = page_of(run)
    check_page(page)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not any(a.get("src") == "x" for _, a in page.tags)
    assert page.data["classes"] == list(HOSTILE)
    assert all(" ".join(name.split()) in page.text for name in HOSTILE)
    assert "49" not in page.text.replace(HOSTILE[2], "")[:2000]
    assert {image["id"] for image in page.data["images"]} <= set(names)
    for file in (run / "figures").glob("*.svg"):
        assert "<script" not in file.read_text(encoding="utf-8")


def test_images_that_are_gone_are_named(tmp_path):
    page = page_of(random_run(tmp_path / "run", 3, 30))
    assert "could not be read from" in page.text
    assert all(image["src"] is None for image in page.data["images"])


def test_the_verdict_and_every_metric_are_the_runs(tmp_path):
    run = random_run(tmp_path / "run", 4, 200)
    page = page_of(run)
    comparison = json.loads((run / "comparison.json").read_text())["multi-label"]
    assert comparison["sentence"] in page.text
    for values in json.loads((run / "metrics.json").read_text()).values():
        assert f"{100 * values['test']['accuracy']:.1f} %" in page.text
        assert f"{values['test']['log_loss']:.3f}" in page.text
    assert "broken.png truncated" in page.text
    ids = ["answer", "confusion", "watch", "help", "pairs", "next", "training", "data", "method"]
    assert [a["id"] for tag, a in page.tags if tag == "section"] == ids


def test_figures_and_tables_for_papers(tmp_path):
    run = random_run(tmp_path / "run", 3, 60)
    write_report(run)
    stems = {"difference", "loss-0", "loss-1", "validation-accuracy", "calibration", "risk-coverage"}
    stems |= {"confusion-0", "confusion-1"}
    assert {p.name for p in (run / "figures").iterdir()} == {
        f"{s}.{kind}" for s in stems for kind in ("png", "svg")
    }
    for file in (run / "figures").glob("*.png"):
        with Image.open(file) as image:
            assert min(image.size) > 200
    before = {p: p.read_bytes() for p in (run / "figures").iterdir()}
    write_report(run)
    assert all(p.read_bytes() == content for p, content in before.items())
    classes = pd.read_csv(run / "tables" / "classes.csv")
    assert classes["images"].sum() == 60
    assert (run / "tables" / "classes.tex").read_text().startswith(r"\begin{tabular}{lr" + 20 * "r" + "}")


def test_classes_csv_is_scikit_learns(tmp_path):
    run = random_run(tmp_path / "run", 4, 120)
    write_report(run)
    table = pd.read_csv(run / "tables" / "classes.csv").set_index("class")
    for recipe in ("plain", "multi-label"):
        own = pd.read_csv(run / "predictions" / f"{recipe}.csv")
        for name, row in table.iterrows():
            true, said = own["label"] == name, own["predicted"] == name
            assert row["images"] == true.sum()
            for what, hits, among in (
                ("recall", true & said, true),
                ("specificity", ~true & ~said, ~true),
            ):
                interval = binomtest(int(hits.sum()), int(among.sum())).proportion_ci(method="wilson")
                found = row[[f"{recipe} {what}", f"{recipe} {what} lower", f"{recipe} {what} upper"]]
                assert found.tolist() == pytest.approx([hits.sum() / among.sum(), *interval], abs=6e-5)
            auroc = roc_auc_score(true, own[f"p_{name}"])
            assert row[f"{recipe} AUROC"] == pytest.approx(auroc, abs=6e-5)


def test_a_finished_training_has_its_page(tmp_path):
    done: Finished = finished()
    page = Page(done.run / "report.html")
    check_page(page)
    pictures = [i for i in page.data["images"] if i["src"]]
    assert len(pictures) == len(page.data["images"]) > 0
    assert "Training batches" in page.text
    phases = {"plain_1_train", "multi-label_1_pretrain", "multi-label_2_fine-tune"}
    assert {p.stem for p in (done.run / "batches").iterdir()} == phases
    assert "multi-label, phase 2: fine-tune" in page.text


def test_images_that_came_as_arrays_are_kept_small(tmp_path):
    """They are in no file: without copies in the run folder the page would have no pictures."""
    from synthetic import SETTINGS, arrays

    from sit2 import train
    from sit2.data.readers.arrays import from_arrays

    images, labels = arrays(6)
    run = train(
        from_arrays(images, labels, "shapes"), out=tmp_path / "run", **{**SETTINGS, "method": "mixup"}
    )
    page = Page(run.folder / "report.html")
    assert all(image["src"] for image in page.data["images"])
    with np.load(run.folder / "thumbnails.npz") as kept:
        assert len(kept["ids"]) >= len(page.data["images"])
        for name, pixels in zip(kept["ids"], kept["images"], strict=True):
            assert np.array_equal(pixels.transpose(1, 2, 0), images[int(name)])


def test_the_verb(tmp_path, capsys):
    run = random_run(tmp_path / "run", 3, 30)
    assert command(("report", run)) == 0
    assert "report.html" in capsys.readouterr().out
    assert command(("report", tmp_path)) == 2
    assert "is not a folder that sit2 made" in capsys.readouterr().err


def test_reporting_needs_no_torch_where_no_image_is_a_jpeg(tmp_path):
    run = random_run(tmp_path / "run", 3, 30)
    code = (
        "import sys; from pathlib import Path; from sit2.report.data import load_run\n"
        f"load_run(Path({str(run)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_photos_are_read_where_run_json_says(tmp_path):
    labels = np.arange(12) % 2
    images = write_images(tmp_path / "images", ("a", "b"), labels)
    run = write_run(tmp_path / "run", ("a", "b"), labels, 1 - labels, labels, images=images)
    shown = {image["id"]: image["src"] for image in page_of(run).data["images"]}
    other = np.asarray(Image.open(images / "a" / "00000.png"))
    import io

    data = base64.b64decode(shown["a/00000.png"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        near = np.asarray(image.convert("RGB").resize(other.shape[:2]), dtype=float)
    assert np.corrcoef(near.ravel(), other.ravel())[0, 1] > 0.5


def test_a_batch_that_several_trainings_begin_with_is_shown_once(tmp_path):
    run = random_run(tmp_path / "run", 3, 30)
    (run / "batches").mkdir()
    for name, shade in (("plain_1_train", 0), ("multi-label_1_pretrain", 90), ("multi-label_2_fine-tune", 0)):
        Image.new("RGB", (40, 40), (shade,) * 3).save(run / "batches" / f"{name}.png")
    captions = re.findall(r"<figcaption>([^<]*phase[^<]*)</figcaption>", page_of(run).source)
    assert captions == [
        "multi-label, phase 1: pretrain",
        "multi-label, phase 2: fine-tune; plain, phase 1: train",
    ]


def test_a_row_of_one_image_is_drawn_paler_than_one_of_hundreds():
    dark = shades(np.array([[1, 0, 0], [0, 300, 0], [20, 0, 0]]))
    assert dark[0, 0] == pytest.approx(0.05**0.5)
    assert (dark[1, 1], dark[2, 0]) == (1, 1)
    assert shades(np.zeros((2, 2), dtype=np.int64)).tolist() == [[0, 0], [0, 0]]
