"""What goes over the wire, as the OpenAPI page describes it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Answer(BaseModel):
    """What is said of one image. One that cannot be read has a problem, and nothing else is said of it."""

    path: str = Field(description="the file's name, as it was sent")
    predicted: str | None = Field(default=None, description="the most probable class")
    confidence: float | None = Field(default=None, description="its probability")
    decision: str | None = Field(
        default=None, description='a class; "not sure: A or B"; or "unlike the training images"'
    )
    set: list[str] = Field(
        default_factory=list,
        description="the possible classes, the most probable first; none where the model gives no sets",
    )
    probabilities: dict[str, float] | None = Field(
        default=None, description="of each class, in the model's order"
    )
    notes: list[str] = Field(default_factory=list, description="what is worth knowing of the file")
    problem: str = Field(default="", description="why the image cannot be read")


class Answers(BaseModel):
    """What is said of the images of a request, in their order."""

    coverage: float | None = Field(
        description="how often sets hold the true class; null: the model gives no sets"
    )
    images: list[Answer]


class Example(BaseModel):
    """A training image."""

    label: str
    image: str = Field(description="a data address")


class Explanation(BaseModel):
    """What the page shows of one image."""

    answer: Answer
    coverage: float | None
    image: str | None = Field(
        default=None, description="the image as the network is given it, a data address"
    )
    heat_map: str | None = Field(
        default=None, description="what supports the most probable class, a data address"
    )
    brightest: str = Field(default="", description='where the heat map is brightest, such as "in the middle"')
    no_heat_map: str = Field(default="", description="why there is none")
    examples: list[Example] = Field(
        default_factory=list, description="the nearest training images of the two most probable classes"
    )


class Accuracy(BaseModel):
    """How many test images of its run a model classifies correctly."""

    value: float
    lower: float = Field(description="of the 95 % interval")
    upper: float
    images: int
    figures: str = Field(
        "", description="whose figures they are, where another model was evaluated than this one"
    )


class Predictor(BaseModel):
    """A step between the network's outputs and the answer."""

    name: str
    settings: dict[str, Any]


class Card(BaseModel):
    """What model answers here."""

    sit2: str = Field(description="the version")
    classes: list[str]
    recipe: str
    backbone: str
    weights: str = Field(description="what it started from; empty: chance")
    weights_digest: str = Field(description="of what it started from")
    digest: str = Field(description="of this model's own weights: BLAKE2b of model.safetensors")
    predictors: list[Predictor]
    image_size: int
    channels: int
    coverage: float | None
    promise: str = Field(description="what the coverage means")
    accuracy: Accuracy | None = Field(description="null: the run is not here, or has no test images")
    examples: bool = Field(description="whether the nearest training images are shown")
    limits: dict[str, int | float]


class Health(BaseModel):
    """That the server answers."""

    status: str = "ok"


class Refused(BaseModel):
    """Why a request is not answered."""

    what: str
    expected: str
    hint: str
