"""What can go wrong with the state on disk."""

from __future__ import annotations


class StoreError(Exception):
    """The state could not be read or made durable (disk full, permissions): what and where, and the fix.

    After it nothing of the failed commit is on disk, and nothing may be published.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}"


class StoreDamaged(StoreError):
    """The database turned out damaged while in use; the next `open_store` sets it aside."""
