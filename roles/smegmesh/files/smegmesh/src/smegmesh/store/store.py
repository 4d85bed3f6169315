"""What the agent must find again after a restart, in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from smegmesh.store.files import explain, open_database
from smegmesh.store.schema import MIGRATIONS, RAISE_OWN_NUMBER


class Changes(Protocol):
    """What one commit makes durable; the gossip engine's event `Persist` has this shape.

    `records`: slot -> bytes, each replacing what the slot held. `certificates`:
    fingerprint -> DER, added. `number`: the highest own number.
    """

    @property
    def records(self) -> Mapping[bytes, bytes]: ...

    @property
    def certificates(self) -> Mapping[bytes, bytes]: ...

    @property
    def number(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MeshState:
    """All that was committed for a mesh, laid over each other; the shape of `Changes`."""

    records: Mapping[bytes, bytes] = field(default_factory=dict)
    certificates: Mapping[bytes, bytes] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that the agent made for a mesh, and on which plane."""

    name: str
    mesh: str
    plane: str


class Store:
    """An open state database. One call at a time, from any thread; every write is durable when it returns.

    Writes raise StoreError and then have changed nothing.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def commit(self, mesh: str, node_key: bytes, changes: Changes) -> None:
        """Make an engine's changes durable. An own number lower than the stored one leaves that as it is."""
        with self._transaction() as database:
            database.execute(RAISE_OWN_NUMBER, (mesh, node_key, changes.number))
            database.executemany(
                "INSERT OR REPLACE INTO record (mesh, slot, content) VALUES (?, ?, ?)",
                [(mesh, slot, content) for slot, content in changes.records.items()],
            )
            database.executemany(
                "INSERT OR IGNORE INTO certificate (mesh, fingerprint, der) VALUES (?, ?, ?)",
                [(mesh, fingerprint, der) for fingerprint, der in changes.certificates.items()],
            )

    def load(self, mesh: str, node_key: bytes) -> MeshState:
        """What is known of a mesh; empty for one never seen."""
        number = self._rows("SELECT number FROM own WHERE mesh = ? AND node_key = ?", mesh, node_key)
        return MeshState(
            records=dict(self._rows("SELECT slot, content FROM record WHERE mesh = ?", mesh)),
            certificates=dict(self._rows("SELECT fingerprint, der FROM certificate WHERE mesh = ?", mesh)),
            number=number[0][0] if number else 0,
        )

    def forget(self, mesh: str) -> None:
        """Drop all of a mesh but the own numbers: a node that comes back must start above them."""
        with self._transaction() as database:
            for table in ("record", "certificate", "port"):
                database.execute(f"DELETE FROM {table} WHERE mesh = ?", (mesh,))

    def drop(self, mesh: str, slots: Iterable[bytes], fingerprints: Iterable[bytes]) -> None:
        """Drop records and certificates of a mesh that nobody needs any more."""
        with self._transaction() as database:
            for table, column, keys in (("record", "slot", slots), ("certificate", "fingerprint", fingerprints)):
                statement = f"DELETE FROM {table} WHERE mesh = ? AND {column} = ?"
                database.executemany(statement, [(mesh, key) for key in keys])

    def ports(self) -> dict[str, int]:
        """The UDP ports kept, by mesh id."""
        return dict(self._rows("SELECT mesh, port FROM port"))

    def keep_ports(self, ports: Mapping[str, int]) -> None:
        """Keep these ports, and no others."""
        with self._transaction() as database:
            database.execute("DELETE FROM port")
            database.executemany("INSERT INTO port (mesh, port) VALUES (?, ?)", list(ports.items()))

    def devices(self) -> list[Device]:
        """The interfaces that are ours, by name."""
        return [Device(*row) for row in self._rows("SELECT name, mesh, plane FROM device ORDER BY name")]

    def keep_device(self, device: Device) -> None:
        """Remember that an interface is ours, until `forget_device`."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO device (name, mesh, plane) VALUES (?, ?, ?)",
                (device.name, device.mesh, device.plane),
            )

    def forget_device(self, name: str) -> None:
        """The interface is gone."""
        with self._transaction() as database:
            database.execute("DELETE FROM device WHERE name = ?", (name,))

    def sysctls(self) -> dict[str, str]:
        """Original values of the sysctls the agent has changed, by name."""
        return dict(self._rows("SELECT name, original FROM sysctl"))

    def keep_sysctls(self, originals: Mapping[str, str]) -> None:
        """Remember values before they are changed; one that is remembered already stays."""
        with self._transaction() as database:
            database.executemany("INSERT OR IGNORE INTO sysctl (name, original) VALUES (?, ?)", list(originals.items()))

    def forget_sysctl(self, name: str) -> None:
        """The original value is back in place."""
        with self._transaction() as database:
            database.execute("DELETE FROM sysctl WHERE name = ?", (name,))

    def close(self) -> None:
        """Fold the log into the file and let go of it. Closing twice does nothing."""
        self._database.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise explain(error, self._path) from error


def open_store(path: Path, migrations: tuple[str, ...] = MIGRATIONS) -> tuple[Store, str | None]:
    """The store at `path`, made if missing, and one sentence for the log if something was wrong with it.

    A damaged database is kept aside and an empty one takes its place. StoreError
    where that cannot be done: no permission, no space, in use, a newer schema
    without a backup of ours.
    """
    database, problem = open_database(path, migrations)
    return Store(path, database), problem
