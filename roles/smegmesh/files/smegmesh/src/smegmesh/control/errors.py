"""The API's errors, on either end."""

from __future__ import annotations


class ControlError(Exception):
    """The API cannot be offered or used: what is wrong, and the fix. Both are one line as text."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}"


class NotRunning(ControlError):
    """Nobody listens on the socket."""


class NotPermitted(ControlError):
    """This user may not use the socket, or not for this."""


class Rejected(Exception):
    """The daemon will not do what was asked: why; `fix` is what to do instead, `status` is HTTP's."""

    def __init__(self, why: str, fix: str, status: int = 422) -> None:
        super().__init__(why)
        self.fix = fix
        self.status = status


class Refused(ControlError):
    """The agent answered with a problem; `status` is HTTP's."""

    def __init__(self, status: int, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.status = status
