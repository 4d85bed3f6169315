"""How a command of smegctl fails: what is wrong, where, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BadInput(Exception):
    """What was given is wrong; `path` is the option or file."""

    def __init__(self, path: str, what: str, fix: str) -> None:
        super().__init__(what)
        self.path = path
        self.fix = fix


class Failed(Exception):
    """What was asked for cannot be done; `path` is the file that it is about, if any."""

    def __init__(self, what: str, fix: str, path: str = "") -> None:
        super().__init__(what)
        self.path = path
        self.fix = fix


class NoPermission(Failed):
    """This user may not do it."""


@contextmanager
def writing(fix: str) -> Iterator[None]:
    """Where files are written: one that cannot be is Failed, with what to do. PermissionError is left as it is."""
    try:
        yield
    except PermissionError:
        raise
    except OSError as error:
        raise Failed(f"cannot be written: {error.strerror}", fix, str(error.filename or "")) from error
