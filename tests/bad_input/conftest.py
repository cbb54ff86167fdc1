"""A finished run, an empty folder to stand in, and a command that must be refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import Finished, command, finished

Printed = pytest.CaptureFixture[str]
Error = Callable[..., str]


@pytest.fixture(name="done")
def _done() -> Finished:
    return finished()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def error(capsys: Printed) -> Error:
    """Run a command that must be refused with exit code 2; return what it says, without the "sit2: "."""

    def refused(*words: object) -> str:
        capsys.readouterr()
        assert command(words) == 2
        printed = capsys.readouterr()
        notes = [line for line in printed.err.splitlines() if line.startswith("note: ")]
        message = printed.err.removeprefix("".join(note + "\n" for note in notes))
        assert message.startswith("sit2: ")
        assert 1 <= len(message.splitlines()) <= 3
        assert "Traceback" not in message
        return message.removeprefix("sit2: ").removesuffix("\n")

    return refused
