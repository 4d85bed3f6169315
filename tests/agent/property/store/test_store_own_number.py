"""The own number on disk never goes back: over crashes, torn writes, upgrades and rollbacks."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.store import MeshState, Store, open_store
from smegmesh.store.schema import MIGRATIONS

MESH, KEY = "prod", b"k" * 32
NEWER = (*MIGRATIONS, "CREATE TABLE later (content TEXT);")

numbers = st.integers(min_value=0, max_value=2**63 - 1)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), numbers),
        st.tuples(st.sampled_from(["crash", "restart", "forget", "upgrade", "roll back"]), st.just(0)),
    ),
    max_size=15,
)


class Host:
    """A store that can lose its power: a crash is a copy of the files as they are, the process being gone."""

    def __init__(self, directory: Path) -> None:
        self.root = directory
        self.boot = 0
        self.upgraded = False
        self.directory = directory / "0"
        self.directory.mkdir()
        self.store = self.open()

    def open(self) -> Store:
        store, _ = open_store(self.directory / "state.db", NEWER if self.upgraded else MIGRATIONS)
        return store

    def crash(self) -> None:
        self.boot += 1
        copy = self.root / str(self.boot)
        shutil.copytree(self.directory, copy)
        self.store.close()
        self.directory = copy
        self.store = self.open()

    def restart(self) -> None:
        self.store.close()
        self.store = self.open()


@settings(max_examples=40, deadline=None)
@given(operations)
def test_own_number_never_goes_back(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory))
        highest = 0
        for operation, number in steps:
            if operation == "commit":
                host.store.commit(MESH, KEY, MeshState({b"slot": str(number).encode()}, {}, number))
                highest = max(highest, number)
            elif operation == "crash":
                host.crash()
            elif operation == "restart":
                host.restart()
            elif operation == "forget":
                host.store.forget(MESH)
            else:
                host.upgraded = operation == "upgrade"
                host.restart()
            assert host.store.load(MESH, KEY).number == highest
        host.store.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=6), st.data())
def test_a_torn_write_leaves_a_whole_commit(commits: list[int], data: st.DataObject) -> None:
    """Power fails somewhere within the last commit: either all of it is there or nothing."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "state.db")
        log = Path(directory, "state.db-wal")
        store, _ = open_store(path)
        states = [MeshState()]
        sizes = [log.stat().st_size if log.exists() else 0]
        for index, number in enumerate(commits):
            highest = max(states[-1].number, number)
            changes = MeshState({b"a": b"%d" % index * 3000, b"b": b"%d" % index}, {}, number)
            store.commit(MESH, KEY, changes)
            states.append(MeshState(changes.records, {}, highest))
            sizes.append(log.stat().st_size)
        torn = Path(directory, "torn.db")
        shutil.copy(path, torn)
        kept = data.draw(st.integers(min_value=sizes[-2], max_value=sizes[-1]))
        Path(directory, "torn.db-wal").write_bytes(log.read_bytes()[:kept])
        store.close()

        survivor, problem = open_store(torn)
        assert problem is None
        assert survivor.load(MESH, KEY) in (states[-2], states[-1])
        if kept == sizes[-1]:
            assert survivor.load(MESH, KEY) == states[-1]
        survivor.close()


@settings(max_examples=30, deadline=None)
@given(numbers, numbers)
def test_an_old_disk_takes_the_number_the_mesh_remembers(old: int, remembered: int) -> None:
    """After an old copy of the disk is put back, the engine learns its number from others and commits it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "state.db")
        store, _ = open_store(path)
        store.commit(MESH, KEY, MeshState(number=old))
        store.commit(MESH, KEY, MeshState(number=remembered))
        store.commit(MESH, KEY, MeshState(number=old))
        assert store.load(MESH, KEY).number == max(old, remembered)
        store.close()
