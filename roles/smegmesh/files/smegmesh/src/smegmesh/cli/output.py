"""Text for people: aligned tables, units, colour on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_COLOURS = {"up": 32, "alive": 32, "starting": 33, "mute": 33, "warning": 33, "failed": 31, "down": 31, "error": 31}
_GAP = "  "


def use_colour() -> bool:
    """Whether standard output is a terminal that wants colour (see no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Characters in a line of the terminal; None if standard output is none."""
    if not sys.stdout.isatty():
        return None
    wanted = os.environ.get("COLUMNS", "")
    return int(wanted) if wanted.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns or 80


def clip(text: str, limit: int | None) -> str:
    """A line that is no longer than that."""
    return text if limit is None or len(text) <= limit else f"{text[: max(limit - 1, 0)]}…"


def table(head: Sequence[str], rows: Sequence[Sequence[object]], colour: bool, limit: int | None = None) -> str:
    """Rows under a head, columns aligned, numbers to the right; "-" stands for None and empty.

    Lines are cut off where they would be longer than `limit`, from the last column on.
    """
    texts = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in (head, *texts)) for column in range(len(head))]
    numeric = [bool(rows) and all(isinstance(row[column], int) for row in rows) for column in range(len(head))]
    lines = []
    for line in (list(head), *texts):
        texts_of = zip(line, widths, numeric, strict=True)
        cells = [cell.rjust(size) if right else cell.ljust(size) for cell, size, right in texts_of]
        lines.append(_coloured(line, _fitting(cells, limit), colour))
    return "\n".join(lines)


def _fitting(cells: Sequence[str], limit: int | None) -> list[str]:
    """As many of the cells of a line as fit, the last one cut."""
    fitting = []
    for cell in cells:
        if limit is not None and limit <= 0:
            break
        fitting.append(cell if limit is None or len(cell) <= limit else clip(cell.rstrip(), limit))
        limit = None if limit is None else limit - len(cell) - len(_GAP)
    return fitting


def _coloured(words: Sequence[str], cells: Sequence[str], colour: bool) -> str:
    return _GAP.join(paint(cell, word, colour) for word, cell in zip(words, cells, strict=False)).rstrip()


def paint(text: str, word: str, colour: bool) -> str:
    """A text in the colour of a word, as `down`, if there is to be any and the word has one."""
    code = _COLOURS.get(word) if colour else None
    return f"\033[{code}m{text}\033[0m" if code is not None else text


def plain(value: object) -> str:
    """One cell; what other nodes say of themselves may hold control characters, which do not reach the terminal."""
    if value is None or value == "":
        return "-"
    return "".join(character if character.isprintable() else "?" for character in str(value))


def duration(seconds: float | None) -> str | None:
    """The two largest units, "3h 12m"; None stays None."""
    if seconds is None:
        return None
    whole = max(0, int(seconds))
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part}{smaller}"
    return f"{whole}s"


def size(count: int) -> str:
    """Bytes in binary units, "1.5 MiB"."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"
