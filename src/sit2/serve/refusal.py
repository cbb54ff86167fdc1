"""How a request is refused: a status, and JSON that says what is wrong, what was expected and what helps."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class Refusal(HTTPException):
    """A request that is not answered. Whatever raises it, the client gets three sentences, and no traceback."""

    def __init__(
        self, status: int, what: str, expected: str, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, what, headers)
        self.said = {"what": what, "expected": expected, "hint": hint}

    @classmethod
    def busy(cls, what: str) -> Refusal:
        """Return the refusal of a request that may be made again soon."""
        return cls(503, what, "fewer requests at once", "ask again in a second", {"Retry-After": "1"})

    @classmethod
    def of(cls, error: HTTPException) -> Refusal:
        """Return what Starlette refuses, such as an unknown path, in our words."""
        if isinstance(error, cls):
            return error
        given = {str(k): str(v) for k, v in (error.headers or {}).items()}
        if error.status_code == 404:
            return cls(404, "there is nothing at this path", "one that /docs lists", "see /docs")
        if error.status_code == 405:
            allowed = given.get("Allow", given.get("allow", "another one"))
            return cls(
                405, "this path does not take this method", f"the method {allowed}", "see /docs", given
            )
        return cls(
            error.status_code, str(error.detail), "a request as /docs describes it", "see /docs", given
        )

    def response(self) -> JSONResponse:
        """Return it as HTTP."""
        return JSONResponse(self.said, self.status_code, headers=self.headers)
