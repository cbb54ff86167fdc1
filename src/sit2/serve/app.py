"""The application: its paths, and how they are described. ASGI: it runs in any server, and in tests in none."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from sit2 import __version__
from sit2.events import Listener, nobody
from sit2.inference.decisions import level
from sit2.inference.model import Model
from sit2.serve.answering import Answerer
from sit2.serve.card import card_of
from sit2.serve.explaining import HeatMaps, Neighbours
from sit2.serve.guard import Guard
from sit2.serve.page import page
from sit2.serve.refusal import Refusal
from sit2.serve.schema import Answers, Card, Explanation, Health, Refused
from sit2.serve.service import MULTIPART, Service
from sit2.serve.settings import ServeSettings


def create_app(folder: Path, settings: ServeSettings, listener: Listener = nobody) -> FastAPI:
    """Load the model of a run folder, or of a model folder, and return the application that answers with it.

    Its threads live as long as its lifespan, which may begin again.

    Raises:
        ConfigError: the model cannot promise the coverage, or there are no examples to show.
        ModelError: there is no model, or it is damaged.
        RunFolderError: the run that it lies in is damaged.
    """
    model = Model.load(folder)
    coverage = level(model.promise, settings.coverage, model.spec.classes, model.spec.recipe)
    card = card_of(model, folder, coverage, settings)
    answerer = Answerer(model, coverage, settings.max_megapixels)
    near = Neighbours.of(model, folder, answerer.how, listener) if settings.with_examples else None
    return _application(Service(settings, answerer, HeatMaps(model), near), card)


def _application(service: Service, card: Card) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.answerer.open()
        yield
        service.answerer.close()

    app = FastAPI(
        title="sit2",
        summary="What images show: a class, or between which classes the model is not sure.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        responses={code: {"model": Refused, "description": text} for code, text in _REFUSALS.items()},
    )
    app.add_middleware(Guard, settings=service.settings)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _broken)
    known = [Depends(HTTPBearer(auto_error=False))] if service.settings.token else []

    @app.post(
        "/predict", dependencies=known, responses=_OF_FILES, openapi_extra=_files(service.settings.max_images)
    )
    async def predict(request: Request) -> Answers:
        """Say what each image shows. One that cannot be read has a problem; the others have their answers."""
        return await service.predict(request)

    @app.post("/explain", dependencies=known, responses=_OF_FILES, openapi_extra=_files(1))
    async def explain(request: Request) -> Explanation:
        """Say what one image shows, and what in it supports that."""
        return await service.explain(request)

    @app.get("/model", dependencies=known)
    async def model() -> Card:
        """Say what model answers here."""
        return card

    @app.get("/health")
    async def health() -> Health:
        """Say that the server answers."""
        return Health()

    start, docs = page("serve.html"), page("docs.html", api=app.openapi())
    app.add_api_route("/", lambda: start, response_class=HTMLResponse, include_in_schema=False)
    app.add_api_route("/docs", lambda: docs, response_class=HTMLResponse, include_in_schema=False)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Refusal.of(error).response()


async def _broken(_: Request, __: Exception) -> Response:
    """Answer where there is a bug of ours; the server tells its own log what it was."""
    return Refusal(500, "an error of the server itself", "an answer", "its log says more").response()


_REFUSALS: dict[int | str, str] = {
    401: "The token is missing or wrong.",
    421: "The request is for another host.",
    503: "Too many requests at once, or no answer in time.",
}
_OF_FILES: dict[int | str, dict[str, Any]] = {
    code: {"model": Refused, "description": text}
    for code, text in {
        400: "The connection ended too early.",
        408: "The request did not arrive in time.",
        413: "The request is too large.",
        415: f"The request's content is not {MULTIPART}.",
        422: "The request holds no file, or too many.",
    }.items()
}


def _files(most: int) -> dict[str, Any]:
    """Describe a request of image files."""
    images = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "maxItems": most,
        "description": "image files; the part's own name does not matter",
    }
    schema = {
        "type": "object",
        "properties": {"images": images},
        "required": ["images"],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}
