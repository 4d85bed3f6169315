"""The host that asks believes nobody: whatever a peer answers, it is right in everything or changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smegmesh.cli import join
from smegmesh.cli.apply import NotTakenOver
from smegmesh.cli.errors import Failed
from smegmesh.cli.join import Joiner, Wanted
from smegmesh.control.client import Client
from smegmesh.control.errors import ControlError
from smegmesh.control.join_client import JoinAnswer
from smegmesh.declaration.values import HostPort
from smegmesh.identity.certificate import (
    Authority,
    Grant,
    Request,
    certificate_der,
    issue,
    make_authority,
    make_request,
    read_request,
)
from smegmesh.identity.keys import IdentityKey

NOW = time.time()
WANTED = Wanted(HostPort("198.18.0.11", None), "prod", "default", {"role": "client"})


class Issuer:
    def __init__(self) -> None:
        self.pem, self._key = make_authority("default", 365, now=NOW - 86400)
        self.fingerprint = Authority(self.pem).fingerprint

    def certify(self, request: Request, *meshes: str, **grants: tuple[str, ...]) -> bytes:
        grant = Grant(request.node_name, request.node_key, meshes, **grants)
        return issue(self.pem, self._key, request, grant, not_before=NOW - 60, not_after=NOW + 86400)

    def node(self, name: str, *meshes: str) -> bytes:
        return self.certify(read_request(make_request(IdentityKey.generate(), name, os.urandom(32))), *meshes)


class Place:
    """A host that asks, and a peer that answers what it is told to."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.etc, self.state = directory / "etc", directory / "state"
        (self.etc / "meshes.d").mkdir(parents=True)
        self.state.mkdir()
        (self.etc / "agent.yml").write_text("node_name: web3\n")
        self.issuer = Issuer()
        self.client = Client(directory / "api.sock")
        self.asked = ""
        self.agrees = True
        self.request = self.joiner().join.request
        self.answer = JoinAnswer(
            state="approved",
            shown=certificate_der(self.issuer.node("a", "prod")),
            authority=self.issuer.pem,
            certificate=self.issuer.certify(self.request, "prod"),
            link_port=4000,
        )
        monkeypatch.setattr(join, "ask_to_join", lambda *_: self.answer)

    def joiner(self, wanted: Wanted = WANTED) -> Joiner:
        return Joiner(self.etc, self.state, self.client, wanted, self._confirm)

    def files(self) -> dict[str, bytes]:
        paths = [*self.etc.rglob("*"), *(self.state / "local.d").rglob("*")]
        return {path.name: path.read_bytes() for path in paths if path.is_file()}

    def _confirm(self, authority: str) -> bool:
        self.asked = authority
        return self.agrees


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_what_is_right_is_installed_readable_for_the_agent(place: Place) -> None:
    step = place.joiner().ask()
    assert (step.state, step.running) == ("joined", False)
    assert place.asked == step.authority
    assert place.files().keys() == {"agent.yml", "authority.pem", "node.pem", "prod.yml"}
    assert place.files()["authority.pem"] == place.issuer.pem
    assert b"address: 198.18.0.11:4000" in place.files()["prod.yml"]
    assert (place.etc / "authorities" / "default" / "node.pem").stat().st_mode & 0o777 == 0o644


OTHER = Issuer()
Forge = Callable[[Place], dict[str, Any]]


def certificate(**changes: object) -> Forge:
    """For another request than the host's."""
    return lambda place: {"certificate": place.issuer.certify(replace(place.request, **changes), "prod")}  # type: ignore[arg-type]


FORGED: dict[str, Forge] = {
    "a peer of another authority": lambda _: {"shown": certificate_der(OTHER.node("a", "prod"))},
    "a peer that is not in the mesh": lambda place: {"shown": certificate_der(place.issuer.node("a", "office"))},
    "a peer that shows nothing": lambda _: {"shown": b""},
    "a peer that shows the authority": lambda place: {"shown": certificate_der(place.issuer.pem)},
    "a certificate of another authority": lambda place: {"certificate": OTHER.certify(place.request, "prod")},
    "for another identity key": certificate(identity_key=IdentityKey.generate().public),
    "for another node key": certificate(node_key=bytes(32)),
    "for another name": certificate(node_name="web4"),
    "for another mesh": lambda place: {"certificate": place.issuer.certify(place.request, "office")},
    "no certificate": lambda _: {"certificate": b""},
    "junk": lambda _: {"certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
    "two authorities": lambda place: {"authority": place.issuer.pem + OTHER.pem},
    "two authorities, the other first": lambda place: {"authority": OTHER.pem + place.issuer.pem},
    "no authority": lambda _: {"authority": b""},
    "a node as authority": lambda place: {"authority": place.issuer.node("a", "prod")},
    "refused, with what terminals act on": lambda _: {"state": "refused", "reason": "no \x1b[31m"},
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_whatever_is_wrong_with_an_answer_nothing_is_changed(place: Place, forge: Forge) -> None:
    before = place.files()
    place.answer = replace(place.answer, **forge(place))
    with pytest.raises(Failed) as failed:
        place.joiner().ask()
    assert "\x1b" not in str(failed.value)
    assert place.files() == before


def test_a_consistent_answer_of_another_mesh_of_that_name_needs_somebody_who_says_yes(place: Place) -> None:
    """All of it is of another authority: only a comparison can tell."""
    place.answer = JoinAnswer(
        state="approved",
        shown=certificate_der(OTHER.node("a", "prod")),
        authority=OTHER.pem,
        certificate=OTHER.certify(place.request, "prod"),
        link_port=4000,
    )
    before = place.files()
    place.agrees = False
    with pytest.raises(Failed, match="not the one"):
        place.joiner().ask()
    with pytest.raises(Failed, match="not the expected one"):
        place.joiner(replace(WANTED, expected=place.issuer.fingerprint)).ask()
    assert place.files() == before
    directory = place.etc / "authorities" / "default"
    directory.mkdir(parents=True)
    (directory / "authority.pem").write_bytes(place.issuer.pem)
    with pytest.raises(Failed, match="is of authority"):
        place.joiner().ask()
    assert (directory / "authority.pem").read_bytes() == place.issuer.pem


def test_what_the_agent_cannot_bring_up_is_taken_back_with_its_certificates(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.files()
    monkeypatch.setattr(Client, "reload", lambda _self: {"problems": {"prod": "no WireGuard here"}})
    with pytest.raises(NotTakenOver, match="no WireGuard here"):
        place.joiner().ask()
    assert place.files() == before


@pytest.mark.parametrize("renew", [False, True])
def test_an_agent_goes_on_with_the_files_that_were_put_back(
    place: Place, monkeypatch: pytest.MonkeyPatch, renew: bool
) -> None:
    """What it read last is what is there then."""
    if renew:
        place.joiner().ask()
        place.answer = replace(place.answer, certificate=place.issuer.certify(place.request, "prod", bridges=("prod",)))
    before, read = place.files(), []

    def reload(_client: Client) -> dict[str, Any]:
        read.append(place.files())
        return {"problems": {"prod": "no such bridge here"}}

    monkeypatch.setattr(Client, "reload", reload)
    with pytest.raises((ControlError, NotTakenOver), match="no such bridge here"):
        place.joiner(replace(WANTED, renew=renew)).ask()
    assert place.files() == before
    assert read[0] != before and read[-1] == before


def test_a_renewal_changes_the_certificate_alone_and_keeps_what_was_granted(place: Place) -> None:
    place.joiner().ask()
    with pytest.raises(Failed, match="declared here already"):
        place.joiner()
    before = place.files()
    renew = replace(WANTED, renew=True, authority="another")
    place.answer = replace(place.answer, certificate=place.issuer.certify(place.request, "prod", bridges=("prod",)))
    assert place.joiner(renew).ask().state == "joined"
    changed = {name for name, content in place.files().items() if before[name] != content}
    assert changed == {"node.pem"}
    place.answer = replace(place.answer, certificate=place.issuer.certify(place.request, "prod"))
    with pytest.raises(Failed, match="lacks") as failed:
        place.joiner(renew).ask()
    assert failed.value.fix == "have it approved with --bridge prod"
