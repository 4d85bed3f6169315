"""Tables of the state database, one step a version.

A published step is never changed. The table `own` keeps its columns for ever: a
rollback to an older agent reads it out of the newer database.
"""

from __future__ import annotations

import sqlite3

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE own (mesh TEXT, node_key BLOB, number INTEGER NOT NULL, PRIMARY KEY (mesh, node_key)) WITHOUT ROWID;
    CREATE TABLE record (mesh TEXT, slot BLOB, content BLOB NOT NULL, PRIMARY KEY (mesh, slot));
    CREATE TABLE certificate (mesh TEXT, fingerprint BLOB, der BLOB NOT NULL, PRIMARY KEY (mesh, fingerprint));
    CREATE TABLE port (mesh TEXT PRIMARY KEY, port INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE sysctl (name TEXT PRIMARY KEY, original TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE device (name TEXT PRIMARY KEY, mesh TEXT NOT NULL, plane TEXT NOT NULL) WITHOUT ROWID;
    """,
)

RAISE_OWN_NUMBER = (
    "INSERT INTO own (mesh, node_key, number) VALUES (?, ?, ?)"
    " ON CONFLICT (mesh, node_key) DO UPDATE SET number = max(number, excluded.number)"
)


def schema_version(database: sqlite3.Connection) -> int:
    """The version a database was made or migrated to, 0 for one that is not ours."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def migrate(database: sqlite3.Connection, migrations: tuple[str, ...]) -> None:
    """Bring a database up to the last step, all or nothing."""
    steps = "".join(migrations[schema_version(database) :])
    database.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(migrations)}; COMMIT;")


def table_names(database: sqlite3.Connection) -> frozenset[str]:
    """Names of all tables."""
    rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return frozenset(name for (name,) in rows)
