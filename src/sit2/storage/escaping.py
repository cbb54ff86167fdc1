"""Names that anybody may have chosen, made safe to print and to open in a spreadsheet.

A file or a class may be called anything: a line that clears the terminal, a formula that a spreadsheet would
run. On the screen, control characters become visible. In a CSV file a cell that could do harm gets an
apostrophe in front and its control characters spelled out; :func:`restored` gives the name back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# C0 and C1 controls, line separators, marks that change the direction of writing, halves of a character.
_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_ANY_CONTROL = re.compile(f"[{_CONTROL}]")
_NOT_NEWLINE = re.compile(f"(?!\n)[{_CONTROL}]")
_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")
_FORMULA = re.compile(
    r"[=+\-@＝＋－＠].", re.DOTALL
)  # one character alone, such as a class "+", does nothing
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def visible(text: str, *, newlines: bool = True) -> str:
    r"""Spell out control characters (``\x1b``), so that a terminal shows them instead of obeying.

    With ``newlines`` false, line breaks are spelled out too: for what must stay within one line.
    """
    return (_NOT_NEWLINE if newlines else _ANY_CONTROL).sub(_spelled, text)


def neutral(cell: str) -> str:
    """Return a text as a CSV cell that neither a spreadsheet nor a terminal acts on."""
    if not _needs(cell):
        return cell
    return "'" + _ANY_CONTROL.sub(_spelled, cell.replace("\\", "\\\\"))


def restored(cell: str) -> str:
    """Return what :func:`neutral` was given; a cell that it would not have written stays what it is."""
    inner = _unspelled(cell[1:]) if cell.startswith("'") else None
    return cell if inner is None or not _needs(inner) else inner


def neutral_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts and headers are :func:`neutral`; numbers stay numbers."""
    made = table.set_axis([neutral(str(name)) for name in table.columns], axis="columns")
    for place, dtype in enumerate(table.dtypes):
        if dtype.kind not in "biuf":
            cells = [neutral(cell) if isinstance(cell, str) else cell for cell in table.iloc[:, place]]
            made.isetitem(place, cells)
    return made


def read_neutral(path: Path) -> pd.DataFrame:
    """Read a CSV file that holds a :func:`neutral_table`: texts and headers as they were, numbers as text.

    Raises:
        OSError, ValueError: when it cannot be read.
    """
    import pandas as pd

    cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8")
    # Python's own strings: pandas' refuse a name that is not UTF-8, also where it only looks for them.
    columns = {n: pd.Series(restored_all(cells[n]), dtype=object) for n in cells}
    table = pd.DataFrame(columns, dtype=object)
    header = pd.Index(table.iloc[0].tolist(), dtype=object)
    return table.iloc[1:].set_axis(header, axis="columns").reset_index(drop=True)


def restored_all(cells: Iterable[str]) -> list[str]:
    """Return every cell :func:`restored`."""
    return [restored(cell) for cell in cells]


def _needs(text: str) -> bool:
    """Say whether a text could do harm, or looks like one that was made neutral."""
    if _ANY_CONTROL.search(text) or (_FORMULA.match(text) and not _NUMBER.fullmatch(text)):
        return True
    inner = _unspelled(text[1:]) if text.startswith("'") else None
    return inner is not None and _needs(inner)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _unspelled(text: str) -> str | None:
    """Undo the spelling; None where the text was not spelled by us."""
    plain = _ESCAPED.sub(lambda m: "\\" if m[1] == "\\" else chr(int(m[1][1:], 16)), text)
    return plain if _ANY_CONTROL.sub(_spelled, plain.replace("\\", "\\\\")) == text else None
