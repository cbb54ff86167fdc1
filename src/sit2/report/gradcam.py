"""What in an image supported a prediction: Grad-CAM (Selvaraju et al. 2017) of errors fixed and introduced.

It needs the extra ``sit2[gradcam]``. That and torch are loaded when the first map is wanted, so a page without
maps costs nothing. Whatever is missing, a sentence says so: a page is made all the same.

Letters: K classes, C channels, H and W pixels of what a network is given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sit2.config.recipe import Recipe, model_folder
from sit2.errors import ConfigError, DataError, ModelError
from sit2.records import ByteArray, FloatArray
from sit2.report.data import RunData
from sit2.report.images import Album

if TYPE_CHECKING:
    from torch import nn

    from sit2.data.decoding.image import Decoding
    from sit2.inference.model import Model

TILE = 96  # pixels of a map on the page
SHADE = 0.35  # how much of an image's light and shade is left under its map
NEAR = 0.02  # by which a probability may differ from the one in predictions/: devices round differently
INSTALL = "pip install 'sit2[gradcam]'"
POSITIONS = (
    ("at the top left", "at the top", "at the top right"),
    ("at the left", "in the middle", "at the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)


@dataclass(frozen=True)
class HeatMap:
    """An image under what supported one recipe's prediction."""

    src: str  # data address
    brightest: str  # where: one of POSITIONS; "" where nothing supported the prediction


@dataclass(frozen=True)
class Explained:
    """An image, and a heat map for each recipe that is shown."""

    src: str
    maps: tuple[HeatMap, ...]


@dataclass
class HeatMaps:
    """Heat maps of a run's test images, as far as there is room."""

    run: RunData
    album: Album  # finds the images; its budget is the maps'
    why: str = ""  # why there are no maps; "" as long as nothing stands against them
    gone: int = 0  # images that cannot be read as they were
    shown: int = 0  # images with maps
    cells: dict[str, tuple[int, int]] = field(default_factory=dict)  # rows and columns of each recipe's map
    averaged: list[str] = field(default_factory=list)  # recipes whose maps are means over several views

    def of_image(self, n: int) -> Explained | None:
        """Return the maps of test image n; None where it has none."""
        if self.album.budget <= 0 or not self._explainers:
            return None
        try:
            return self._explained(n, self._explainers)
        except DataError:
            self.gone += 1
            return None
        # Any of timm's networks may stand here: a page without maps is still a page.
        except Exception as error:
            self.why = f"Grad-CAM fails on this network ({type(error).__name__})"
            self._explainers = ()
            return None

    def _explained(self, n: int, explainers: tuple[Explainer, ...]) -> Explained:
        from sit2.data.decoding.decode import decode
        from sit2.storage.process_state import quiet_libraries

        how = explainers[0].decoding
        with quiet_libraries():
            name = self.run.predictions[explainers[0].recipe].ids[n]
            source = self._source(name, self.run.paths[n], how.size)
            pixels = decode(source, how)
            shown = decode(source, replace(how, size=TILE, channels=3))
        heats = []
        for explainer in explainers:
            heat, probabilities = explainer.explain(pixels)
            saved = self.run.predictions[explainer.recipe].probabilities[n]
            # Another image, or another model, than the one that the predictions are of.
            if probabilities.argmax() != saved.argmax() or abs(probabilities.max() - saved.max()) > NEAR:
                raise DataError("the prediction is another")
            heats.append(heat)
        maps = [HeatMap(self.album.add(overlay(shown, heat)), brightest(heat)) for heat in heats]
        self.shown += 1
        return Explained(self.album.add(Image.fromarray(shown.transpose(1, 2, 0))), tuple(maps))

    def _source(self, name: str, path: str, size: int) -> Path | ByteArray:
        """Return an image's file, or the copy (H, W, 3) of one that came as an array."""
        kept = self.album.kept.get(name)
        if kept is None:
            return self.album.root / path
        if kept.shape[1] < size:
            raise DataError("the copy is smaller than what the network was given")
        return np.ascontiguousarray(kept.transpose(1, 2, 0))

    @cached_property
    def _explainers(self) -> tuple[Explainer, ...]:
        """Load the models of the recipes that are shown; none, and ``why``, where there are no maps of them."""
        if self.run.refit:
            self.why = "the predictions are of other models than those that are kept"
            return ()
        try:
            folders = {recipe: self._folder(recipe) for recipe in self.run.shown}
        except ConfigError:
            self.why = "this version of sit2 does not know the recipe"
            return ()
        lacking = [recipe for recipe, folder in folders.items() if not (folder / "model.json").is_file()]
        if lacking:
            self.why = f"the run folder holds no model of {lacking[0]}"
            return ()
        try:
            import pytorch_grad_cam  # noqa: F401
        except ImportError:
            self.why = f"they need {INSTALL}; then write the page again with sit2 report"
            return ()
        found = [self._explainer(recipe, folder) for recipe, folder in folders.items()]
        explainers = tuple(one for one in found if one is not None)
        return explainers if len(explainers) == len(found) else ()

    def _folder(self, recipe: str) -> Path:
        main = str(self.run.settings.get("method", "")) or recipe
        return model_folder(self.run.folder, Recipe.parse(recipe), Recipe.parse(main))

    def _explainer(self, recipe: str, folder: Path) -> Explainer | None:
        import torch

        from sit2.inference.model import Model

        try:
            model = Model.load(folder)
        except ModelError:
            self.why = f"the model of {recipe} cannot be loaded"
            return None
        if (model.spec.recipe, model.spec.classes) != (recipe, self.run.classes):
            self.why = f"the model in the folder of {recipe} is another one"
            return None
        if model.spec.networks > 1:
            self.why = f"{recipe} averages {model.spec.networks} networks"
            return None
        found = last_map(model)
        if found is None:
            self.why = f"{model.spec.backbone} has no feature map in its last layers"
            return None
        layer, self.cells[recipe] = found
        if len(list(model.views(torch.zeros(1, 1, 2, 2)))) > 1:
            self.averaged.append(recipe)
        return Explainer(recipe, model, layer)


@dataclass(frozen=True)
class Explainer:
    """A model, and the layer whose output is a map of the image."""

    recipe: str
    model: Model
    layer: nn.Module

    @property
    def decoding(self) -> Decoding:
        """How an image becomes what the network is given, as in prediction."""
        from sit2.data.decoding.image import Decoding

        spec = self.model.spec
        return Decoding.of(spec, channels=spec.channels)

    def explain(self, pixels: ByteArray) -> tuple[FloatArray, FloatArray]:
        """Say what in an image supports the class that the model predicts.

        Of a model that predicts from several views of an image, it is the mean over them.

        Args:
            pixels: (C, H, W) uint8, decoded as :attr:`decoding` says.

        Returns:
            The map (H, W) in [0, 1]: 1 where most supports the class, or 0 everywhere; and the
            probabilities (K,).
        """
        import torch
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        from sit2.training.training_set import as_tensor

        image = as_tensor(pixels[None]).float() / 255
        probabilities = self.model.answer(image)[0]
        target = ClassifierOutputTarget(int(probabilities.argmax()))
        cam = GradCAM(self.model.network, [self.layer])
        index = torch.arange(image[0, 0].numel()).view(1, 1, *image.shape[2:])
        heat = np.zeros(index.numel())
        for view, there in zip(self.model.views(image), self.model.views(index), strict=True):
            heat[there.flatten().numpy()] += cam(self.model.asking().prepared(view), [target])[0].flatten()
        return (heat / (heat.max() or 1)).reshape(image.shape[2:]), probabilities.numpy()


def last_map(model: Model) -> tuple[nn.Module, tuple[int, int]] | None:
    """Find the last layer whose output (1, F, h, w) is a map of the image, F being the encoder's features.

    A pooling's output does not count, which is coarser than what was pooled; nor does a map that becomes a
    row of tokens (1, T, F), as in a vision transformer.

    Returns:
        The layer and (h, w); None where there is no such layer.
    """
    import torch
    from torch import Tensor, nn

    from sit2.training.backbones import Network

    network, spec = model.network, model.spec
    if not isinstance(network, Network):
        return None
    encoder = network.encoder
    done: list[tuple[nn.Module, Any]] = []
    hooks = [m.register_forward_hook(lambda m, _, out: done.append((m, out))) for m in encoder.modules()]
    try:
        with torch.no_grad():
            encoder(torch.zeros(1, spec.channels, spec.image_size, spec.image_size))
    finally:
        for hook in hooks:
            hook.remove()
    calls = Counter(id(module) for module, _ in done)
    poolings, pooled = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), list[Any]()
    found = None
    for module, out in done:  # in the order in which they were done: a block after its layers
        if not isinstance(out, Tensor):
            continue
        if isinstance(module, poolings) or any(out is other for other in pooled):
            pooled.append(out)
        elif out.ndim == 3:
            found = None
        elif out.ndim == 4 and min(out.shape[2:]) > 1 and calls[id(module)] == 1:
            found = module, out.shape
    if found is None or found[1][1] != getattr(encoder, "num_features", None):
        return None
    return found[0], (found[1][2], found[1][3])


def overlay(pixels: ByteArray, heat: FloatArray) -> Image.Image:
    """Lay a heat map (h, w) in [0, 1] over an image (3, H, W) uint8.

    The colours are viridis', which grow brighter evenly for every kind of colour vision. The image keeps its
    light and shade, weakly: a bright place of the image must not be taken for a bright place of the map.
    """
    from matplotlib import colormaps

    height, width = pixels.shape[1:]
    scaled = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    colours = colormaps["viridis"](np.asarray(scaled).clip(0, 1))[:, :, :3]
    gray = np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))[:, :, None] / 255
    laid = (colours + SHADE * (gray - 0.5)).clip(0, 1)
    return Image.fromarray((255 * laid).round().astype(np.uint8))


def brightest(heat: FloatArray) -> str:
    """Say in words in which ninth of an image its heat map (H, W) is brightest; "" where it is dark."""
    if not heat.any():
        return ""
    parts = [[cell.mean() for cell in np.array_split(row, 3, axis=1)] for row in np.array_split(heat, 3)]
    row, column = divmod(int(np.argmax(parts)), 3)
    return POSITIONS[row][column]
