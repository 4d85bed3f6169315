"""Who may import whom (docs/architecture.md), read from the source text: nothing is imported here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "roles" / "smegmesh" / "files" / "smegmesh" / "src" / "smegmesh"
CORE = ("identity", "crdt", "gossip", "routing")
NAMES = "names"
DOCTOR = "doctor"
PURE = (*CORE, NAMES, DOCTOR)
DEVICES = ("transport", "dataplane", "control", "store")
WIRING = ("daemon", "cli")
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")

# What does I/O, or holds hidden state. `random.Random` and clocks are handed in.
IMPURE = {
    "aiohttp", "asyncio", "fcntl", "http", "io", "multiprocessing", "os", "pathlib", "pyroute2", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib", "yaml",
}  # fmt: skip

ALLOWED: dict[str, frozenset[str]] = {
    **{room: frozenset(CORE[: index + 1]) for index, room in enumerate(CORE)},
    NAMES: frozenset({"identity", "crdt", "gossip", NAMES}),
    # A device room knows the values of the core, and no other device.
    **{room: frozenset({*CORE, room}) for room in DEVICES},
    "declaration": frozenset({"identity", "crdt", "declaration"}),
    "simulation": frozenset({*CORE, "simulation"}),
    "daemon": frozenset({*CORE, NAMES, *DEVICES, "declaration", "daemon"}),
    DOCTOR: frozenset({DOCTOR}),
    "cli": frozenset({"identity", "routing", "control", "declaration", "simulation", "store", DOCTOR, "cli"}),
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, wherever in it, with `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def test_every_room_has_a_rule() -> None:
    assert set(ROOMS) <= set(ALLOWED), "say in this test and in docs/architecture.md whom a new room may import"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may_know(room: str) -> None:
    faults = [
        f"{path}:{line}: {room} imports {name}"
        for path in files(room)
        for line, name in imports(path)
        if name.startswith("smegmesh.")
        and (PACKAGE / name.split(".")[1]).is_dir()
        and name.split(".")[1] not in ALLOWED[room]
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("room", PURE)
def test_the_core_does_no_io(room: str) -> None:
    faults = [
        f"{path}:{line}: {room} imports {name}"
        for path in files(room)
        for line, name in imports(path)
        if name.split(".")[0] in IMPURE or (name.split(".")[0] == "random" and name != "random.Random")
    ]
    assert not faults, "\n".join(faults)


def test_identity_loads_on_a_controller() -> None:
    """The action plugin has the standard library and cryptography, no more."""
    foreign = {"msgspec", "aiohttp", "pyroute2", "yaml", "jsonschema"}
    names = {name.split(".")[0] for path in files("identity") for _, name in imports(path)}
    assert not names & foreign


def test_the_client_of_the_api_is_standard_library_only() -> None:
    names = {name for file in ("client.py", "errors.py") for _, name in imports(PACKAGE / "control" / file)}
    heavy = {"msgspec", "aiohttp", "asyncio"}
    assert not {name.split(".")[0] for name in names} & heavy
    assert {name for name in names if name.startswith("smegmesh.")} <= {
        f"smegmesh.control.errors.{error}" for error in ("ControlError", "NotPermitted", "NotRunning", "Refused")
    }
