"""How a command of smegctl fails: what is wrong, where, what to do."""

from __future__ import annotations


class BadInput(Exception):
    """What was given is wrong; `path` is the option or file."""

    def __init__(self, path: str, what: str, fix: str) -> None:
        super().__init__(what)
        self.path = path
        self.fix = fix


class Failed(Exception):
    """What was asked for cannot be done."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix
