"""Lists of images as labelling tools import them, Label Studio and FiftyOne.

Label Studio: a JSON list of tasks with ``data`` and perhaps ``predictions``.
FiftyOne: a folder of the type ``FiftyOneImageClassificationDataset``; its ``data.json`` says where images lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sit2.storage.files import atomic
from sit2.storage.untrusted import to_json

LABEL_STUDIO, INTERFACE = "label-studio.json", "label-studio.xml"
LABELS, PLACES = "fiftyone/labels.json", "fiftyone/data.json"


@dataclass(frozen=True)
class Listed:
    """One image of a list."""

    path: Path  # absolute
    label: str = ""  # its class, or the one that a model expects; "" for none
    score: float | None = None  # how probable that is, where a model says it
    facts: Mapping[str, Any] = field(default_factory=dict)  # what else is shown of it


def write_lists(folder: Path, images: Sequence[Listed], classes: Sequence[str], *, author: str) -> list[Path]:
    """Write a list for both tools into a folder; return the files.

    Args:
        folder: made where it is missing.
        images: in the order in which they are to be looked at.
        classes: that there are to choose from.
        author: who says the labels that have a score; stands in Label Studio as the model's version.

    Raises:
        OSError: the files cannot be written.
    """
    named = {f"{number:06d}": image for number, image in enumerate(images, 1)}
    contents = {
        LABEL_STUDIO: to_json([_task(image, author) for image in images]),
        INTERFACE: labelling_config(classes),
        LABELS: to_json(_fiftyone(named, classes)),
        PLACES: to_json({name: image.path.as_posix() for name, image in named.items()}),
    }
    written = []
    for file, content in contents.items():
        written.append(folder / file)
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        with atomic(written[-1]) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")
    return written


def labelling_config(classes: Sequence[str]) -> str:
    """Return what Label Studio's project takes as its labelling interface."""
    from xml.sax.saxutils import quoteattr

    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in classes)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="label" toName="image" choice="single">\n{choices}  </Choices>\n</View>\n'
    )


def _task(image: Listed, author: str) -> dict[str, Any]:
    """Return a task: Label Studio serves local files below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT, here "/"."""
    place = quote(image.path.as_posix().lstrip("/"))
    task: dict[str, Any] = {"data": {"image": f"/data/local-files/?d={place}", **image.facts}}
    if image.label:
        choice = {
            "from_name": "label",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [image.label]},
        }
        score = {} if image.score is None else {"score": image.score}
        task["predictions"] = [{"model_version": author, **score, "result": [choice]}]
    return task


def _fiftyone(images: Mapping[str, Listed], classes: Sequence[str]) -> dict[str, Any]:
    """Return classes, and for each image its number among them with what else is known; null without a label."""
    place = {name: number for number, name in enumerate(classes)}
    labels: dict[str, Any] = {}
    for name, image in images.items():
        labels[name] = None
        if image.label in place:
            confidence = {} if image.score is None else {"confidence": image.score}
            labels[name] = {"label": place[image.label], **confidence, "attributes": dict(image.facts)}
    return {"classes": list(classes), "labels": labels}
