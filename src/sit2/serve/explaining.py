"""What the page shows beside the answer: a heat map, and the nearest training images.

Letters: n training images, D features, C×H×W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding, Unreadable
from sit2.data.pixels import PixelStore, load_pixels_for
from sit2.data.samples import as_texts, read_samples
from sit2.data.words import counted
from sit2.errors import ConfigError
from sit2.events import Listener, Note
from sit2.inference.model import PREDICT_BATCH, Model
from sit2.inference.seen import run_of
from sit2.records import ByteArray, Dataset, IntArray
from sit2.report.gradcam import INSTALL, Explainer, brightest, last_map, overlay
from sit2.report.images import as_address
from sit2.seeds import Seeds
from sit2.serve.answering import File
from sit2.serve.schema import Example
from sit2.storage.process_state import quiet_libraries
from sit2.storage.run_info import read_info

SIDE, EXAMPLE = 256, 112  # pixels of what is shown of the image, and of a training image
EACH = 3  # training images of a class that are shown
MOST = 2000  # training images that are looked among, drawn by chance


@dataclass(frozen=True)
class HeatMap:
    """A heat map, or why there is none."""

    src: str | None = None
    brightest: str = ""
    why_not: str = ""


class HeatMaps:
    """Draws heat maps, where the network has a feature map and Grad-CAM is installed."""

    def __init__(self, model: Model) -> None:
        found, self._explainer, self.why_not = last_map(model), None, ""
        try:
            import pytorch_grad_cam  # noqa: F401
        except ImportError:
            self.why_not = f"heat maps need {INSTALL}"
            return
        if found is None:
            self.why_not = "this network has no feature map in its last layers"
            return
        self._explainer = Explainer(model.spec.recipe, model, found[0])

    def of(self, pixels: ByteArray, shown: ByteArray) -> HeatMap:
        """Draw what supports the class that is predicted.

        Args:
            pixels: (C, H, W) uint8, as the network is given them.
            shown: (3, SIDE, SIDE) uint8: the same image for the page.
        """
        if self._explainer is None:
            return HeatMap(why_not=self.why_not)
        try:
            with quiet_libraries():
                heat, _ = self._explainer.explain(pixels)
        # Any of timm's networks may stand here: an answer without a map is still an answer.
        except Exception as error:
            return HeatMap(why_not=f"Grad-CAM fails on this network ({type(error).__name__})")
        return HeatMap(as_address(overlay(shown, heat), quality=85), brightest(heat))


def shown(file: File, how: Decoding, side: int = SIDE) -> ByteArray:
    """Return an image (3, side, side) uint8 for the page, cut and scaled as for the network."""
    with quiet_libraries():
        return decode(file.source, replace(how, size=side, channels=3))


def picture(pixels: ByteArray) -> str:
    """Return (3, H, W) uint8 as a data address."""
    return as_address(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), quality=85)


@dataclass(frozen=True)
class Neighbours:
    """The training images of a model, in the feature space of its network."""

    model: Model
    how: Decoding
    places: tuple[Path, ...]  # n files
    labels: IntArray  # (n,) int64 in [0, K)
    digests: tuple[str, ...]  # n: of the pixels that the network was given
    features: NDArray[np.float32]  # (n, D), of length 1

    @classmethod
    def of(cls, model: Model, folder: Path, how: Decoding, listener: Listener) -> Neighbours:
        """Read the training images of the run that a model lies in.

        Raises:
            ConfigError: the model lies in no run, or its images are not where they were.
            RunFolderError: the run is damaged.
        """
        run = run_of(folder)
        if run is None:
            raise ConfigError(
                f"--with-examples: {folder} lies in no run folder, so nothing says what trained the model\n"
                "give the folder that `sit2 train -o` wrote"
            )
        samples, root = read_samples(run / "samples.csv"), Path(read_info(run).root or ".")
        splits = ("train", "val", "test") if model.spec.figures else ("train",)
        known = {name: k for k, name in enumerate(model.spec.classes)}
        rows = np.array(
            [
                n
                for n, split in enumerate(samples.splits)
                if split in splits and not samples.problems[n] and samples.labels[n] in known
            ],
            np.int64,
        )
        rows = np.sort(Seeds(0).numpy("examples").permutation(rows)[:MOST])
        labels = np.array([known[samples.labels[n]] for n in rows], np.int64)
        paths = tuple(samples.paths[n] for n in rows)
        dataset = Dataset("training images", root, model.spec.classes, paths, paths, labels)
        pixels = load_pixels_for(model.spec, dataset)
        digests = as_texts(PixelStore.of(pixels.images).digests)
        same = [
            n
            for n, problem in enumerate(pixels.problems)
            if not problem and (not samples.digests or digests[n] == samples.digests[rows[n]])
        ]
        if not same:
            raise ConfigError(
                f"--with-examples: none of the training images is in {root} as it was\n"
                "put them back, or serve without --with-examples"
            )
        if lost := len(rows) - len(same):
            listener(Note(f"{counted(lost, 'training image')} gone or changed since: they are not shown"))
        kept = np.array(same, np.int64)
        return cls(
            model,
            how,
            tuple(root / paths[n] for n in same),
            labels[kept],
            tuple(digests[n] for n in same),
            features_of(model, pixels.images[kept]),
        )

    def nearest(self, pixels: ByteArray, classes: Sequence[int]) -> list[tuple[Path, int, str]]:
        """Return the training images of some classes that are nearest to one image (C, H, W) uint8.

        Of each: its file, its class, and the digest of its pixels.
        """
        like = self.features @ features_of(self.model, pixels[None])[0]
        found: list[tuple[Path, int, str]] = []
        for k in classes:
            own = np.flatnonzero(self.labels == k)
            near = own[np.argsort(-like[own], kind="stable")[:EACH]]
            found += [(self.places[n], k, self.digests[n]) for n in near]
        return found

    def example(self, place: Path, label: str, digest: str) -> Example | None:
        """Return a training image for the page; None where it is gone or changed."""
        try:
            with quiet_libraries():
                same = as_texts(PixelStore.of(decode(place, self.how)[None]).digests)[0] == digest
                pixels = decode(place, replace(self.how, size=EXAMPLE, channels=3))
        except (Unreadable, MemoryError):
            return None
        return Example(label=label, image=picture(pixels)) if same else None


def features_of(model: Model, images: ByteArray) -> NDArray[np.float32]:
    """Return (n, D) float32 of length 1: what the network's head sees of (n, C, H, W) uint8."""
    parts = []
    with torch.inference_mode():
        model.network.eval()
        for start in range(0, len(images), PREDICT_BATCH):
            batch = (
                torch.from_numpy(np.ascontiguousarray(images[start : start + PREDICT_BATCH])).float() / 255
            )
            features = model.asking().features(batch).float()
            parts.append(torch.nn.functional.normalize(features, dim=1).numpy())
    return np.concatenate(parts)
