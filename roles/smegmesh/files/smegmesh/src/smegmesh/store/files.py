"""Opening the state database: new, whole, damaged, older or newer than this agent.

A database is made under another name and moved into place, so an empty or
truncated file at its path always means damage.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from smegmesh.store.durable import sync
from smegmesh.store.errors import StoreDamaged, StoreError
from smegmesh.store.schema import MIGRATIONS, RAISE_OWN_NUMBER, migrate, schema_version, table_names

_COMPANIONS = ("-wal", "-shm")


def open_database(path: Path, migrations: tuple[str, ...] = MIGRATIONS) -> tuple[sqlite3.Connection, str | None]:
    """An exclusive connection to a whole database of this agent's schema, and what had to be done for it.

    A damaged file is moved to `NAME.damaged-N` and replaced by an empty database.
    One of an older schema is backed up as `NAME.schema-N` first, then migrated. One
    of a newer schema is replaced by the backup of ours, with the higher own numbers
    kept; StoreError if there is no such backup.
    """
    try:
        _check_directory(path)
        if not os.path.lexists(path):
            _make_new(path, migrations)
            return _connect(path), None
        return _open_existing(path, migrations)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", "the agent's user must be able to write there") from error


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error as ours."""
    text = str(error)
    if _is_damage(error):
        return StoreDamaged(f"{path}: damaged ({text})", "restart smegd, it sets the file aside and goes on without")
    if "locked" in text:
        return StoreError(f"{path}: in use by another process", "stop the other smegd")
    if "full" in text:
        return StoreError(f"{path}: no space left on the disk", "free some, smegd tries again")
    return StoreError(f"{path}: {text}", "check the disk, and that the agent's user can write there")


def _is_damage(error: sqlite3.Error) -> bool:
    """Only DatabaseError itself speaks of damage; its subclasses are full disks, locks and our own faults."""
    return error.__class__ is sqlite3.DatabaseError


def _check_directory(path: Path) -> None:
    if not path.parent.is_dir():
        raise StoreError(f"{path.parent}: no such directory", "create it for the agent's user")


def _open_existing(path: Path, migrations: tuple[str, ...]) -> tuple[sqlite3.Connection, str | None]:
    if path.stat().st_size == 0:
        return _replace_damaged(path, migrations, "empty")  # SQLite would take it for a new one
    try:
        database = _connect(path)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return _replace_damaged(path, migrations, str(error))
    try:
        damage = _find_damage(database, path)
        if damage is not None:
            database.close()
            return _replace_damaged(path, migrations, damage)
        found = schema_version(database)
        if found > len(migrations):
            database.close()
            problem = _roll_back(path, found, len(migrations))
            return _connect(path), problem
        if found < len(migrations):
            _back_up(database, path.with_name(f"{path.name}.schema-{found}"))
            migrate(database, migrations)
        return database, None
    except BaseException:
        database.close()
        raise


def _find_damage(database: sqlite3.Connection, path: Path) -> str | None:
    try:
        # With the log folded in nothing may be missing at the end; SQLite reads zeros there.
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, page_size = (
            int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size")
        )
        if path.stat().st_size < pages * page_size:
            return "truncated"
        answer = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        if answer != "ok":
            return answer.splitlines()[-1]  # the first may be a heading
        if schema_version(database) < 1 or "own" not in table_names(database):
            return "not a state database"
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return str(error)
    return None


def _connect(path: Path) -> sqlite3.Connection:
    """Autocommit outside explicit transactions; durable at every commit; nobody else may open it."""
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")  # takes the lock now, not at the first commit
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _make_new(path: Path, migrations: tuple[str, ...]) -> None:
    new = path.with_name(f"{path.name}.new")
    _make_empty(new)
    with closing(sqlite3.connect(new, isolation_level=None)) as database:
        migrate(database, migrations)
    sync(new)
    _remove_companions(path)  # a log left behind by another database would be replayed into this one
    os.replace(new, path)
    sync(path.parent)


def _replace_damaged(path: Path, migrations: tuple[str, ...], damage: str) -> tuple[sqlite3.Connection, str]:
    aside = _free_name(path, "damaged")
    _move(path, aside)
    _make_new(path, migrations)
    return _connect(path), (
        f"{path} was damaged ({damage}): it was moved to {aside} and an empty one took its place; "
        "the mesh is learned again from the other nodes"
    )


def _roll_back(path: Path, found: int, known: int) -> str:
    backup = path.with_name(f"{path.name}.schema-{known}")
    if not backup.is_file():
        raise StoreError(
            f"{path}: schema {found} was written by a newer agent, this one knows {known} and there is no backup "
            f"{backup.name}",
            "install the newer agent again, or move the file away to start from nothing",
        )
    restored = path.with_name(f"{path.name}.new")
    with closing(sqlite3.connect(backup)) as source:
        _copy(source, restored)
    with closing(sqlite3.connect(path)) as newer:
        own = newer.execute("SELECT mesh, node_key, number FROM own").fetchall()
    with closing(sqlite3.connect(restored)) as older:
        older.executemany(RAISE_OWN_NUMBER, own)
        older.commit()
    sync(restored)
    aside = _free_name(path, f"schema-{found}")
    # The copy is in place before the newer file goes, so no crash leaves this path empty.
    _remove_companions(path)
    os.link(path, aside)
    os.replace(restored, path)
    sync(path.parent)
    return (
        f"{path} was of schema {found}, newer than this agent's {known}: the backup {backup.name} was restored "
        f"with the own numbers of the newer file, which is kept as {aside.name}"
    )


def _back_up(database: sqlite3.Connection, backup: Path) -> None:
    new = backup.with_name(f"{backup.name}.new")
    _copy(database, new)
    os.replace(new, backup)
    sync(backup.parent)


def _copy(source: sqlite3.Connection, target: Path) -> None:
    _make_empty(target)
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    sync(target)


def _free_name(path: Path, word: str) -> Path:
    number = 1
    while os.path.lexists(path.with_name(f"{path.name}.{word}-{number}")):
        number += 1
    return path.with_name(f"{path.name}.{word}-{number}")


def _move(path: Path, target: Path) -> None:
    for companion in (*_COMPANIONS, ""):
        source = path.with_name(path.name + companion)
        if os.path.lexists(source):
            os.replace(source, target.with_name(target.name + companion))
    sync(path.parent)


def _make_empty(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_companions(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _remove_companions(path: Path) -> None:
    for companion in _COMPANIONS:
        path.with_name(path.name + companion).unlink(missing_ok=True)
