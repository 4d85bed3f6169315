"""The one error of this room."""

from __future__ import annotations


class DeclarationError(Exception):
    """Bad input: in which file, where in it (`bootstrap[1].address`, empty for the whole), what, the fix."""

    def __init__(self, file: str, where: str, what: str, fix: str) -> None:
        super().__init__(file, where, what, fix)
        self.file = file
        self.where = where
        self.what = what
        self.fix = fix

    @property
    def message(self) -> str:
        """Where and what, without the fix."""
        return ": ".join(part for part in (self.file, self.where, self.what) if part)

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}"


class ManagedElsewhere(DeclarationError):
    """What is asked for is another's to say: `what` names the file."""


class NotDeclared(DeclarationError):
    """What is to be changed is not there."""
