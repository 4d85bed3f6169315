"""From what was raised to an exit status and one clear error. Imported when something failed."""

from __future__ import annotations

from typing import NamedTuple

from smegmesh.cli.errors import BadInput, Failed, NoPermission
from smegmesh.control.errors import ControlError, NotPermitted, NotRunning

FAILED, BAD_INPUT, NOT_RUNNING, NOT_PERMITTED = range(1, 5)
_SUDO = "run it as root (sudo smegctl …)"


class Failure(NamedTuple):
    """An exit status; what is wrong, where, and what to do about it."""

    code: int
    message: str
    path: str = ""
    fix: str = ""

    @property
    def parts(self) -> dict[str, str]:
        """For --json."""
        return {"message": self.message, "path": self.path, "fix": self.fix}

    @property
    def line(self) -> str:
        """For people."""
        return ": ".join(part for part in (self.path, self.message, self.fix) if part)


def explain(error: Exception) -> Failure | None:
    """What to say of it; None for a fault of our own."""
    if isinstance(error, BadInput):
        return Failure(BAD_INPUT, str(error), error.path, error.fix)
    if isinstance(error, Failed):
        code = NOT_PERMITTED if isinstance(error, NoPermission) else FAILED
        return Failure(code, str(error), error.path, error.fix)
    if isinstance(error, NotRunning):
        return Failure(NOT_RUNNING, error.what, fix=error.fix)
    if isinstance(error, NotPermitted):
        return Failure(NOT_PERMITTED, error.what, fix=error.fix)
    if isinstance(error, ControlError):
        return Failure(FAILED, error.what, fix=error.fix)
    if isinstance(error, PermissionError):
        return Failure(NOT_PERMITTED, "no permission", str(error.filename or ""), _SUDO)
    return _of_files(error)


def _of_files(error: Exception) -> Failure | None:
    from smegmesh.declaration.errors import DeclarationError
    from smegmesh.store.errors import StoreError

    if isinstance(error, DeclarationError):
        path = ": ".join(part for part in (error.file, error.where) if part)
        return Failure(BAD_INPUT, error.what, path, error.fix)
    return Failure(FAILED, error.what, fix=error.fix) if isinstance(error, StoreError) else None
