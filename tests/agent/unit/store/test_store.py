"""The state database: what it keeps, and how it comes out of damage, a full disk and a rollback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from smegmesh.store import MeshState, Store, StoreDamaged, StoreError, open_store
from smegmesh.store.schema import MIGRATIONS

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NEWER = (*MIGRATIONS, "CREATE TABLE later (content TEXT);")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def opened(path: Path, migrations: tuple[str, ...] = MIGRATIONS) -> Store:
    store, problem = open_store(path, migrations)
    assert problem is None
    return store


def filled(path: Path) -> None:
    store = opened(path)
    records = {bytes([number]) * 32: bytes([number]) * 3000 for number in range(30)}
    store.commit("prod", KEY, MeshState(records, {b"f" * 32: b"der"}, 7))
    store.close()


def test_what_was_committed_is_there_after_a_restart(path: Path) -> None:
    store = opened(path)
    assert store.load("prod", KEY) == MeshState()
    store.commit("prod", KEY, MeshState({b"a": b"1", b"b": b"2"}, {b"f": b"der"}, 1))
    store.commit("prod", KEY, MeshState({b"a": b"3"}, {b"g": b"other"}, 2))
    store.commit("office", KEY, MeshState({b"a": b"4"}, {}, 9))
    expected = MeshState({b"a": b"3", b"b": b"2"}, {b"f": b"der", b"g": b"other"}, 2)
    assert store.load("prod", KEY) == expected
    store.close()
    store.close()
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]
    store = opened(path)
    assert store.load("prod", KEY) == expected
    assert store.load("prod", OTHER_KEY).number == 0
    store.close()


def test_only_the_agent_can_read_it(path: Path) -> None:
    store = opened(path)
    store.commit("prod", KEY, MeshState(number=1))
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    store.close()


def test_own_number_is_never_lowered(path: Path) -> None:
    store = opened(path)
    store.commit("prod", KEY, MeshState(number=5))
    store.commit("prod", KEY, MeshState({b"a": b"1"}, {}, 3))
    assert store.load("prod", KEY) == MeshState({b"a": b"1"}, {}, 5)
    store.close()


def test_a_forgotten_mesh_keeps_its_own_number_alone(path: Path) -> None:
    store = opened(path)
    store.commit("prod", KEY, MeshState({b"a": b"1"}, {b"f": b"der"}, 5))
    store.commit("office", KEY, MeshState({b"a": b"1"}, {}, 1))
    store.keep_ports({"prod": 51820, "office": 51821})
    store.forget("prod")
    assert store.load("prod", KEY) == MeshState(number=5)
    assert store.load("office", KEY).records == {b"a": b"1"}
    assert store.ports() == {"office": 51821}
    store.close()


def test_ports_and_sysctls(path: Path) -> None:
    store = opened(path)
    store.keep_ports({"a": 1, "b": 2})
    store.keep_ports({"b": 3})
    assert store.ports() == {"b": 3}
    store.keep_sysctls({"net.ipv6.conf.all.forwarding": "0"})
    store.keep_sysctls({"net.ipv6.conf.all.forwarding": "1", "net.ipv6.conf.eth0.accept_ra": "1"})
    assert store.sysctls() == {"net.ipv6.conf.all.forwarding": "0", "net.ipv6.conf.eth0.accept_ra": "1"}
    store.forget_sysctl("net.ipv6.conf.eth0.accept_ra")
    assert store.sysctls() == {"net.ipv6.conf.all.forwarding": "0"}
    store.close()


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def foreign(_content: bytes) -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE own (something)")
    return database.serialize() if hasattr(database, "serialize") else b"not a database" * 100


@pytest.mark.parametrize(
    "damage",
    [
        halved,
        lambda content: content[:-1],
        lambda content: content[:50],
        lambda _content: b"",
        lambda content: b"\0" * len(content),
        lambda content: content[:8192] + b"\xff" * 4096 + content[12288:],
        lambda _content: b"plain text\n" * 1000,
        foreign,
    ],
)
def test_a_damaged_file_is_kept_aside_and_the_agent_goes_on(path: Path, damage: Callable[[bytes], bytes]) -> None:
    filled(path)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    store, problem = open_store(path)
    aside = path.with_name("state.db.damaged-1")
    assert problem is not None
    assert str(path) in problem and str(aside) in problem and "\n" not in problem
    assert aside.read_bytes()[100:] == broken[100:]
    assert store.load("prod", KEY) == MeshState()
    store.commit("prod", KEY, MeshState(number=8))
    store.close()
    opened(path).close()


def test_each_damaged_file_is_kept(path: Path) -> None:
    for _ in range(3):
        path.write_bytes(b"broken")
        store, problem = open_store(path)
        assert problem is not None
        store.close()
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["state.db", "state.db.damaged-1", "state.db.damaged-2", "state.db.damaged-3"]


def test_damage_found_in_use_is_told_apart(path: Path) -> None:
    filled(path)
    store = opened(path)
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * 65536)
    store._database.execute("PRAGMA shrink_memory")  # what is in memory is not read again
    with pytest.raises(StoreDamaged, match="restart smegd"):
        store.load("prod", KEY)
    store.close()
    store, problem = open_store(path)
    assert problem is not None
    store.close()


def test_a_log_left_behind_is_not_replayed_into_a_new_database(path: Path) -> None:
    filled(path)
    store = opened(path)
    store.commit("prod", KEY, MeshState(number=8))
    log = path.with_name("state.db-wal").read_bytes()
    store.close()
    path.unlink()
    path.with_name("state.db-wal").write_bytes(log)
    store = opened(path)
    assert store.load("prod", KEY) == MeshState()
    store.close()


def test_a_full_disk_publishes_nothing(path: Path) -> None:
    filled(path)
    store = opened(path)
    store._database.execute("PRAGMA max_page_count = 40")
    with pytest.raises(StoreError, match="no space left on the disk"):
        store.commit("prod", KEY, MeshState({b"large": bytes(1_000_000)}, {}, 8))
    assert store.load("prod", KEY).number == 7
    assert b"large" not in store.load("prod", KEY).records
    store._database.execute("PRAGMA max_page_count = 100000")
    store.commit("prod", KEY, MeshState({b"large": bytes(1_000_000)}, {}, 8))
    assert store.load("prod", KEY).number == 8
    store.close()


def test_two_agents_cannot_share_it(path: Path) -> None:
    store = opened(path)
    with pytest.raises(StoreError, match="stop the other smegd"):
        open_store(path)
    store.close()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="create it for the agent's user"):
        open_store(tmp_path / "none" / "state.db")


def test_an_upgrade_keeps_a_backup_and_a_rollback_takes_it(path: Path) -> None:
    filled(path)
    newer = opened(path, NEWER)
    assert newer.load("prod", KEY).number == 7
    newer.commit("prod", KEY, MeshState({b"new": b"1"}, {}, 20))
    newer.commit("office", KEY, MeshState({b"new": b"1"}, {}, 3))
    newer.close()

    older, problem = open_store(path)
    assert problem is not None and f"state.db.schema-{len(MIGRATIONS)} was restored" in problem
    assert older.load("prod", KEY).number == 20
    assert b"new" not in older.load("prod", KEY).records
    assert older.load("office", KEY) == MeshState(number=3)
    older.close()
    opened(path).close()
    assert path.with_name(f"state.db.schema-{len(NEWER)}-1").is_file()
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_a_rollback_without_backup_says_what_to_do(path: Path) -> None:
    opened(path, NEWER).close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="install the newer agent again"):
        open_store(path)
    assert path.read_bytes() == content


def test_a_failed_migration_changes_nothing(path: Path) -> None:
    filled(path)
    with pytest.raises(StoreError):
        open_store(path, (*MIGRATIONS, "CREATE TABLE good (content TEXT); CREATE TABLE own (content TEXT);"))
    store = opened(path)
    assert store.load("prod", KEY).number == 7
    store.close()
