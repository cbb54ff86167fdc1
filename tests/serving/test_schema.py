"""Whatever the OpenAPI description allows or forbids is answered as it says; schemathesis makes the requests."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic import finished

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402

from sit2.serve.app import create_app  # noqa: E402
from sit2.serve.settings import ServeSettings  # noqa: E402

PATHS = {"/predict": "POST", "/explain": "POST", "/model": "GET", "/health": "GET"}
FILES = ("/predict", "/explain")  # of those that take nothing, nothing can be wrong


@pytest.fixture(scope="module", name="api")
def _api() -> Any:
    app = create_app(finished().run, ServeSettings(token="secret"))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "localhost"})


def test_every_path_is_described(api: Any) -> None:
    described = {(one.ok().path, one.ok().method.upper()) for one in api.get_all_operations()}
    assert described == set(PATHS.items())


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, GenerationMode.POSITIVE) for path in PATHS),
        *((path, GenerationMode.NEGATIVE) for path in FILES),
    ],
)
def test_the_interface(api: Any, path: str, mode: GenerationMode) -> None:
    operation = api[path][PATHS[path]]

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": "Bearer secret", "Host": "localhost"})

    check()
