"""What engines of one process may share: immutable parts of maps, and what was decoded and verified.

Nothing of it depends on who uses it. An agent's engine has its own; a simulation gives
thousands of engines one that remembers more (`smegmesh.simulation.sharing`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from smegmesh.crdt.pool import Pool
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.statement import SignedEntry, SignedVerdict
from smegmesh.gossip.settings import Stored

T = TypeVar("T")
Triple = tuple[bytes, bytes, bytes]
Statement = SignedEntry | SignedVerdict | Removal

#: Duplicates come within a second or so of the first; what they repeat is held by the map in any case.
_REMEMBERED = 1024
#: Nobody can make the memo large: what is longer (bytes) is read again.
_LONGEST = 2048
#: Certificates of twice as many nodes as a mesh holds: renewals push out what they replaced.
_OWNERS = 131_072


class Memo:
    """The statements that were verified last, by all their bytes; entered after verification."""

    def __init__(self, limit: int = _REMEMBERED, longest: int = _LONGEST) -> None:
        self._limit = limit
        self._longest = longest
        self._statements: dict[Triple | bytes, Statement] = {}

    def get(self, raw: Triple | bytes) -> Statement | None:
        """The statement of these bytes, if it was verified lately."""
        return self._statements.get(raw)

    def put(self, raw: Triple | bytes, statement: Statement) -> None:
        """Remember a verified statement."""
        if (len(raw) if isinstance(raw, bytes) else len(raw[2])) > self._longest:
            return
        self._statements[raw] = statement
        if len(self._statements) > self._limit:
            del self._statements[next(iter(self._statements))]


class Owners:
    """Whose the certificates are that were verified last: fingerprint -> node key, as a hint where to look for one."""

    def __init__(self, limit: int = _OWNERS) -> None:
        self._limit = limit
        self._keys: dict[bytes, bytes] = {}

    def get(self, fingerprint: bytes) -> bytes | None:
        """The node of a certificate, if it was verified lately."""
        return self._keys.get(fingerprint)

    def put(self, fingerprint: bytes, node_key: bytes) -> None:
        """Remember whose a verified certificate is."""
        self._keys[fingerprint] = node_key
        if len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]


class Sharing:
    """The pool of maps, the memo of statements and the owners of certificates; an engine's own, if it shares none."""

    def __init__(self, pool: Pool | None = None, memo: Memo | None = None) -> None:
        self.pool = pool or Pool()
        self.memo = memo or Memo()
        self.owners = Owners()

    def loaded(self, stored: Stored, load: Callable[[], T], copy: Callable[[T], T]) -> T:
        """What `load` makes of what is stored."""
        return load()
