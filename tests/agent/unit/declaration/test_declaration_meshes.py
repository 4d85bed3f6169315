"""All declarations of a host together, and what the agent chooses where they say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from smegmesh.crdt.entry import Role
from smegmesh.declaration import (
    Declaration,
    DeclarationError,
    choose_ports,
    default_interface,
    load_meshes,
    read_meshes,
)


class Host:
    """Directories as a host has them."""

    def __init__(self, root: Path) -> None:
        self.etc = root / "etc"
        self.local = root / "local.d"
        (self.etc / "meshes.d").mkdir(parents=True)
        self.local.mkdir()

    def declare(self, mesh: str, *more: str, owner: str = "role", name: str | None = None) -> Path:
        directory = self.local if owner == "local" else self.etc / "meshes.d"
        path = directory / (name or f"{mesh}.yml")
        path.write_text("\n".join([f"owner: {owner}", f"mesh: {mesh}", "role: peer", "endpoint: 198.18.0.1", *more]))
        return path


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def names(declarations: tuple[Declaration, ...] | list[Declaration]) -> list[str]:
    return [declaration.mesh for declaration in declarations]


def test_directories_may_be_missing(tmp_path: Path) -> None:
    assert load_meshes(tmp_path / "no", tmp_path / "none") == []


def test_both_directories_count_and_other_files_do_not(host: Host) -> None:
    host.declare("prod")
    host.declare("home", owner="local")
    host.declare("prod", name="prod.yml.bak")
    host.declare("prod", name=".prod.yml")
    (host.etc / "meshes.d" / "prod.d").mkdir()
    assert names(load_meshes(host.etc, host.local)) == ["home", "prod"]


def test_a_bad_file_leaves_the_others_running(host: Host) -> None:
    host.declare("good")
    bad = host.declare("bad", "prot: 1")
    (host.etc / "meshes.d" / "directory.yml").mkdir()
    loaded = read_meshes(host.etc, host.local)
    assert names(loaded.declarations) == ["good"]
    assert {error.mesh: error.error.what for error in loaded.errors} == {
        "bad": "unknown key `prot`",
        "directory": "is not a regular file",
    }
    with pytest.raises(DeclarationError):
        load_meshes(host.etc, host.local)
    bad.unlink()
    (host.etc / "meshes.d" / "directory.yml").rmdir()
    assert names(load_meshes(host.etc, host.local)) == ["good"]


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("port: 51820", "port: 51820", "port"),
        ("interface: wg0", "interface: wg0", "interface"),
        ("interface: smeg-b", "", "interface"),
    ],
)
def test_two_meshes_cannot_share(host: Host, one: str, other: str, where: str) -> None:
    host.declare("a", one)
    second = host.declare("b", other)
    loaded = read_meshes(host.etc, host.local)
    assert names(loaded.declarations) == ["a"]
    error = loaded.errors[0].error
    assert (error.file, error.where) == (str(second), where)
    assert "mesh a already" in error.what and "a.yml" in error.what


def test_a_new_file_in_conflict_does_not_take_a_running_mesh_down(host: Host) -> None:
    host.declare("b", "port: 51820")
    host.declare("a", "port: 51820")
    loaded = read_meshes(host.etc, host.local, running={"b"})
    assert names(loaded.declarations) == ["b"]
    assert loaded.errors[0].mesh == "a"


def test_ansible_has_the_last_word(host: Host) -> None:
    managed = host.declare("prod")
    host.declare("prod", owner="local")
    loaded = read_meshes(host.etc, host.local, running={"prod"})
    assert loaded.declarations[0].file == str(managed)
    assert f"mesh prod is managed by Ansible in {managed}" in str(loaded.errors[0].error)


def test_file_name_is_the_mesh_id(host: Host) -> None:
    host.declare("prod", name="other.yml")
    error = read_meshes(host.etc, host.local).errors[0]
    assert error.mesh == "other"
    assert "declares mesh prod, but the file is named for other" in str(error.error)
    assert "prod.yml" in error.error.fix


@pytest.mark.parametrize("hook", ["pre_up", "post_up", "pre_down", "post_down"])
def test_hooks_are_declared_in_files_of_root_only(host: Host, hook: str) -> None:
    host.declare("prod", f"{hook}: [/etc/hook]")
    path = host.declare("home", f"{hook}: [/etc/hook]", owner="local")
    loaded = read_meshes(host.etc, host.local)
    assert names(loaded.declarations) == ["prod"]
    (refused,) = loaded.errors
    assert (refused.mesh, refused.error.file, refused.error.where) == ("home", str(path), hook)
    assert "hooks are declared in files of root only" in refused.error.what
    assert "declare mesh home with Ansible" in refused.error.fix


def test_owners_keep_to_their_directory(host: Host) -> None:
    host.declare("a", owner="local").rename(host.etc / "meshes.d" / "a.yml")
    host.declare("b").rename(host.local / "b.yml")
    errors = {error.mesh: error.error for error in read_meshes(host.etc, host.local).errors}
    assert errors["a"].where == errors["b"].where == "owner"
    assert "role or play" in errors["a"].fix and "local" in errors["b"].fix


@pytest.mark.parametrize(
    ("mesh", "interface"),
    [
        ("prod", "smeg-prod"),
        ("ten-chars1", "smeg-ten-chars1"),
        ("elevenchars", "smeg-431ea2f646"),
        ("a.b", "smeg-2e7336dc8e"),
    ],
)
def test_default_interface(mesh: str, interface: str) -> None:
    assert default_interface(mesh) == interface
    assert len(interface) <= 15


def declared(mesh: str, port: int | None = None) -> Declaration:
    return Declaration(f"{mesh}.yml", "role", mesh, Role.PEER, mesh, port=port)


def test_ports_are_the_lowest_free_in_order_of_mesh_ids() -> None:
    assert choose_ports([declared("b"), declared("a")], {}) == {"a": 51820, "b": 51821}
    assert choose_ports([declared("a"), declared("b", 51820)], {}) == {"a": 51821, "b": 51820}
    assert choose_ports([declared("a")], {}, busy={51820, 51821}) == {"a": 51822}


def test_a_kept_port_stays_while_nobody_declares_it() -> None:
    assert choose_ports([declared("a"), declared("b")], {"b": 51820}) == {"a": 51821, "b": 51820}
    assert choose_ports([declared("a"), declared("b", 52000)], {"a": 52000}) == {"a": 51820, "b": 52000}
    assert choose_ports([declared("a")], {"a": 51820}, busy={51820}) == {"a": 51821}
    assert choose_ports([declared("a")], {"gone": 51820}) == {"a": 51820}


def test_no_port_left() -> None:
    with pytest.raises(ValueError, match="declare one below"):
        choose_ports([declared("a")], {}, busy=range(65536))
