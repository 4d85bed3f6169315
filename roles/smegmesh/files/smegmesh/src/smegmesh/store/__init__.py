"""State on disk: what must survive a restart, and the host's private keys."""

from smegmesh.store.errors import StoreDamaged, StoreError
from smegmesh.store.store import Changes, Device, MeshState, Store, open_store

__all__ = ["Changes", "Device", "MeshState", "Store", "StoreDamaged", "StoreError", "open_store"]
