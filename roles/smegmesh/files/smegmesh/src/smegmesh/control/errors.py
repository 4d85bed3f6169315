"""The API's errors, on either end."""

from __future__ import annotations


class ControlError(Exception):
    """The API cannot be offered or used: one line that says what and what to do."""


class NotRunning(ControlError):
    """Nobody listens on the socket."""


class NotPermitted(ControlError):
    """This user may not use the socket, or not for this."""


class Refused(ControlError):
    """The agent answered with a problem; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
