"""What is changed on a host itself: in local.d, beside what Ansible declares and never against it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from smegmesh.declaration import Declaration, DeclarationError, load_meshes
from smegmesh.declaration.applying import Applied, read_all
from smegmesh.declaration.change import Places, Request, Wanted
from smegmesh.declaration.errors import ManagedElsewhere, NotDeclared
from smegmesh.declaration.local import LocalMesh
from smegmesh.declaration.write import forget_fragments

ONE, TWO = "2001:db8:1::/48", "2001:db8:2::/48"
PEER = {"role": "peer", "endpoint": "198.18.0.1"}
MANAGED = f"owner: role\nmesh: prod\nrole: peer\nendpoint: 198.18.0.1\nalias: web\nadvertise: ['{ONE}']\n"
PLAYED = f"owner: play\nadvertise: ['{ONE}']\nservices: {{ssh: tcp/22}}\n"


class Host:
    """Mesh prod is managed by Ansible, with a fragment; nothing else is there."""

    def __init__(self, directory: Path) -> None:
        self.places = Places(directory / "etc", directory / "state" / "local.d")
        self.managed = self.places.etc / "meshes.d" / "prod.yml"
        self.played = self.places.etc / "meshes.d" / "prod.d" / "x.yml"
        self.played.parent.mkdir(parents=True)
        self.places.local.parent.mkdir()
        self.managed.write_text(MANAGED)
        self.played.write_text(PLAYED)

    def ask(self, mesh: str, what: Callable[[LocalMesh], Request]) -> list[str]:
        """The files that were changed, from local.d on."""
        return self.apply(what(LocalMesh(mesh, read_all(self.places), self.places)))

    def apply(self, request: Request) -> list[str]:
        with Applied(request, self.places) as applied:
            return [str(change.path).removeprefix(f"{self.places.local}/") for change in applied.changes]

    def mesh(self, name: str) -> Declaration:
        return next(each for each in load_meshes(self.places.etc, self.places.local) if each.mesh == name)

    def local(self) -> list[str]:
        """All that is in local.d, hidden files included."""
        return sorted(str(each.relative_to(self.places.local)) for each in self.places.local.rglob("*"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_mesh_is_declared_changed_and_left(host: Host) -> None:
    assert host.ask("office", lambda mesh: mesh.declare({**PEER, "health": {"target": "::5"}, "advertise": [ONE]}))
    assert host.ask("office", lambda mesh: mesh.change({"alias": "x", "health": {"misses": 5}})) == ["office.yml"]
    assert host.mesh("office").alias == "x"
    health = host.mesh("office").health
    assert health is not None and (str(health.target), health.misses) == ("::5", 5)
    assert host.ask("office", lambda mesh: mesh.change({"alias": None, "health": None})) == ["office.yml"]
    assert (host.mesh("office").alias, host.mesh("office").health) == (None, None)
    assert host.ask("office", lambda mesh: mesh.change({"keepalive": 25})) == ["office.yml"]
    assert host.ask("office", lambda mesh: mesh.change({"keepalive": 25})) == []
    assert host.ask("office", lambda mesh: mesh.offer("https", "tcp/443")) == ["office.d/node.yml"]
    assert host.ask("office", LocalMesh.leave) == ["office.yml"]
    assert host.local() == ["office.d", "office.d/node.yml"], "which the agent takes away"
    assert [each.mesh for each in load_meshes(host.places.etc, host.places.local)] == ["prod"]


def test_what_ansible_declares_is_added_to(host: Host) -> None:
    node = ["prod.d/node.yml"]
    assert host.ask("prod", lambda mesh: mesh.describe({"description": "d"})) == node
    assert host.ask("prod", lambda mesh: mesh.advertise(TWO)) == node
    assert host.ask("prod", lambda mesh: mesh.offer("https", "tcp/443")) == node
    prod = host.mesh("prod")
    assert (prod.alias, prod.description) == ("web", "d")
    assert set(prod.advertise) == {IPv6Network(ONE), IPv6Network(TWO)}
    assert [service.name for service in prod.services] == ["https", "ssh"]
    assert prod.file_of(IPv6Network(TWO)) == str(host.places.local / node[0])
    for again in (
        lambda mesh: mesh.advertise(ONE),
        lambda mesh: mesh.advertise(TWO),
        lambda mesh: mesh.offer("https", "tcp/443"),
        lambda mesh: mesh.offer("ssh", "tcp/22"),
    ):
        assert host.ask("prod", again) == []
    assert host.ask("prod", lambda mesh: mesh.withdraw("2001:db8:2:0::/48")) == node
    assert host.ask("prod", lambda mesh: mesh.withhold("https")) == node
    assert host.ask("prod", lambda mesh: mesh.describe({"description": None})) == node
    assert host.local() == [], "a fragment that says nothing goes, and its directory"


@pytest.mark.parametrize(
    ("ask", "file"),
    [
        (lambda mesh: mesh.declare(PEER), "prod.yml"),
        (lambda mesh: mesh.change({"alias": "x"}), "prod.yml"),
        (LocalMesh.leave, "prod.yml"),
        (lambda mesh: mesh.describe({"alias": "x"}), "prod.yml"),
        (lambda mesh: mesh.describe({"alias": None}), "prod.yml"),
        (lambda mesh: mesh.withdraw(ONE), "prod.d/x.yml"),
        (lambda mesh: mesh.offer("ssh", "tcp/23"), "prod.d/x.yml"),
        (lambda mesh: mesh.withhold("ssh"), "prod.d/x.yml"),
    ],
)
def test_what_ansible_says_is_not_said_otherwise(host: Host, ask: Callable[[LocalMesh], Request], file: str) -> None:
    with pytest.raises(ManagedElsewhere) as caught:
        host.ask("prod", ask)
    assert str(host.places.etc / "meshes.d" / file) in caught.value.what
    assert not host.places.local.exists() or host.local() == []
    assert (host.managed.read_text(), host.played.read_text()) == (MANAGED, PLAYED)


@pytest.mark.parametrize(
    ("mesh", "ask"),
    [
        ("office", lambda mesh: mesh.change({"alias": "x"})),
        ("office", LocalMesh.leave),
        ("office", lambda mesh: mesh.describe({"alias": "x"})),
        ("office", lambda mesh: mesh.advertise(ONE)),
        ("office", lambda mesh: mesh.offer("https", "tcp/443")),
        ("prod", lambda mesh: mesh.withdraw(TWO)),
        ("prod", lambda mesh: mesh.withdraw("nonsense")),
        ("prod", lambda mesh: mesh.withhold("https")),
    ],
)
def test_what_is_not_there_is_not_changed(host: Host, mesh: str, ask: Callable[[LocalMesh], Request]) -> None:
    with pytest.raises(NotDeclared):
        host.ask(mesh, ask)


@pytest.mark.parametrize(
    ("mesh", "content", "what"),
    [
        ("../x", PEER, "mesh id"),
        ("office", {**PEER, "mesh": "other"}, "cannot be chosen"),
        ("office", {**PEER, "owner": "role"}, "cannot be chosen"),
        ("office", {**PEER, "prot": 1}, "did you mean `port`"),
        ("office", {**PEER, "post_up": ["/bin/true"]}, "files of root only"),
        ("office", {**PEER, "state": "absent"}, "unknown key"),
        ("office", {"role": "peer"}, "needs an endpoint"),
        ("office", {**PEER, "interface": "smeg-prod"}, "that of mesh prod already"),
    ],
)
def test_bad_declarations_are_refused(host: Host, mesh: str, content: dict[str, object], what: str) -> None:
    with pytest.raises(DeclarationError, match=what):
        host.ask(mesh, lambda local: local.declare(content))
    assert host.local() == []


def test_what_is_added_to_a_mesh_that_is_left_says_nothing_and_goes(host: Host, tmp_path: Path) -> None:
    host.ask("office", lambda mesh: mesh.declare(PEER))
    for mesh in ("prod", "office"):
        host.ask(mesh, lambda mesh: mesh.offer("https", "tcp/443"))
    changed = host.apply(Request((Wanted("role", "prod", False, {}),)))
    assert "prod.d/node.yml" not in changed, "root deletes nothing in the agent's directory"
    assert [each.mesh for each in load_meshes(host.places.etc, host.places.local)] == ["office"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.yml").touch()
    (host.places.local / "link.d").symlink_to(elsewhere)
    forget_fragments(host.places.local, {"office"})
    assert host.local() == ["link.d", "office.d", "office.d/node.yml", "office.yml"]
    assert (elsewhere / "x.yml").exists()


def test_local_files_are_the_hosts_alone(host: Host) -> None:
    """Neither does local.d speak for Ansible, nor meshes.d for the host."""
    wrong = host.places.local / "prod.d" / "x.yml"
    wrong.parent.mkdir(parents=True)
    wrong.write_text(PLAYED.replace("ssh", "https"))
    with pytest.raises(DeclarationError, match="owner play has no fragments in"):
        host.mesh("prod")
    wrong.unlink()
    host.played.write_text(PLAYED.replace("play", "local"))
    with pytest.raises(DeclarationError, match="owner local has no fragments in"):
        host.mesh("prod")


def test_what_the_agent_may_not_link_is_put_back_all_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fs.protected_hardlinks nobody makes a link to what another wrote."""

    def refuse(*_arguments: object, **_more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    host.ask("office", lambda mesh: mesh.declare(PEER))
    before = (host.places.local / "office.yml").read_text()
    monkeypatch.setattr("os.link", refuse)
    local = LocalMesh("office", read_all(host.places), host.places)
    with Applied(local.change({"alias": "x"}), host.places) as applied:
        assert (host.places.local / "office.yml").read_text() != before
        applied.roll_back()
    assert (host.places.local / "office.yml").read_text() == before
    assert host.local() == ["office.yml"]
