"""How the errors of this room read: what is wrong, a colon, how to mend it."""

from __future__ import annotations


def split_fix(error: ValueError) -> tuple[str, str]:
    """What is wrong, and how to mend it."""
    what, _colon, fix = str(error).partition(": ")
    return what, fix or "give another"
