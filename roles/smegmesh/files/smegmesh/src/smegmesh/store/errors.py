"""What can go wrong with the state on disk."""

from __future__ import annotations


class StoreError(Exception):
    """The state could not be read or made durable (disk full, permissions): what, where, what to do.

    After it nothing of the failed commit is on disk, and nothing may be published.
    """


class StoreDamaged(StoreError):
    """The database turned out damaged while in use; the next `open_store` sets it aside."""
