"""Fragments: each by itself, then united with the declaration of their mesh."""

from __future__ import annotations

import json
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from smegmesh.declaration import DeclarationError, Loaded, Service, load_meshes, read_meshes
from smegmesh.declaration.document import parse_document
from smegmesh.declaration.fragments import parse_fragment
from smegmesh.declaration.schema import read_schema

ONE, TWO = IPv6Network("2001:db8:1::/48"), IPv6Network("2001:db8:2::/48")


class Host:
    """The directory meshes.d with mesh prod in it, which advertises ONE."""

    def __init__(self, etc: Path) -> None:
        self.etc = etc
        self.directory = etc / "meshes.d"
        self.directory.mkdir()
        self.declare("prod")

    def declare(self, mesh: str) -> None:
        text = f"owner: role\nmesh: {mesh}\nrole: peer\nendpoint: 198.18.0.1\nadvertise: ['{ONE}']\n"
        (self.directory / f"{mesh}.yml").write_text(text)

    def add(self, name: str, text: str, mesh: str = "prod") -> Path:
        path = self.directory / f"{mesh}.d" / f"{name}.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"owner: play\n{text}\n")
        return path

    def read(self) -> Loaded:
        return read_meshes(self.etc, self.etc / "none")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_fragments_unite_with_their_declaration(host: Host) -> None:
    host.add("b", f"advertise: ['{TWO}', '{ONE}']\nservices: {{ssh: tcp/22}}")
    host.add("a", "services: {https: 'https://web.example.org'}")
    host.add(".hidden", "nonsense")
    (host.directory / "prod.d" / "notes.txt").write_text("nonsense")
    (host.directory / "file.d").write_text("nonsense")
    (declaration,) = load_meshes(host.etc, host.etc / "none")
    assert declaration.advertise == (ONE, TWO)
    assert declaration.services == (Service("https", "https://web.example.org"), Service("ssh", "tcp/22"))
    assert declaration.file_of(TWO) == str(host.directory / "prod.d" / "b.yml")
    assert declaration.file_of(IPv6Network("::/0")) == declaration.file


def test_a_service_that_is_declared_twice_names_both_files(host: Host) -> None:
    first, second = host.add("a", "services: {https: tcp/443}"), host.add("b", "services: {https: tcp/443}")
    loaded = host.read()
    assert loaded.declarations == ()
    (bad,) = loaded.errors
    assert (bad.mesh, bad.error.file, bad.error.where) == ("prod", str(second), "services.https")
    assert (
        str(bad.error) == f"{second}: services.https: service https is declared in {first} already; keep one of the two"
    )


@pytest.mark.parametrize(
    ("key", "items"),
    [
        ("services", [{f"s{half}-{number}": "x" for number in range(33)} for half in (1, 2)]),
        ("advertise", [[f"2001:db8:{half}:{number:x}::/64" for number in range(128)] for half in (1, 2)]),
    ],
)
def test_together_they_keep_the_limits_of_an_entry(host: Host, key: str, items: list[object]) -> None:
    host.add("a", f"{key}: {json.dumps(items[0])}")
    second = host.add("b", f"{key}: {json.dumps(items[1])}")
    error = host.read().errors[0].error
    assert (error.file, error.where) == (str(second), key)
    assert "there are more than" in error.what


def test_a_fragment_of_no_mesh_says_what_to_do(host: Host) -> None:
    path = host.add("a", "services: {https: tcp/443}", mesh="other")
    loaded = host.read()
    assert [declaration.mesh for declaration in loaded.declarations] == ["prod"]
    (bad,) = loaded.errors
    assert (bad.mesh, bad.error.file) == ("other", str(path))
    assert "mesh other is not declared" in bad.error.what
    assert "declare it, with the role" in bad.error.fix and f"remove {path.parent}" in bad.error.fix


def test_a_mesh_of_local_d_has_no_fragments(host: Host) -> None:
    local = host.etc / "local.d"
    local.mkdir()
    (local / "home.yml").write_text("owner: local\nmesh: home\nrole: peer\nendpoint: 198.18.0.1\n")
    host.add("a", "services: {https: tcp/443}", mesh="home")
    loaded = read_meshes(host.etc, local)
    assert [(each.mesh, each.services) for each in loaded.declarations] == [("home", ()), ("prod", ())]
    assert "mesh home is not declared in" in loaded.errors[0].error.what


def test_a_mesh_with_a_bad_fragment_is_not_run_without_it(host: Host) -> None:
    """What cannot be read may be what holds a prefix: it is not withdrawn for that."""
    host.declare("good")
    host.add("a", "prefixes: []")
    (host.directory / "other.d").mkdir()
    (host.directory / "other.d" / "a.yml").mkdir()
    host.declare("other")
    loaded = host.read()
    assert [declaration.mesh for declaration in loaded.declarations] == ["good"]
    assert {bad.mesh: bad.error.what for bad in loaded.errors} == {
        "prod": "unknown key `prefixes`",
        "other": "is not a regular file",
    }


def test_every_key_has_a_description_and_a_good_example() -> None:
    for key, schema in read_schema("fragment")["properties"].items():
        assert schema["description"] and schema["examples"], key
        for example in schema["examples"]:
            content = {"owner": "play", "services": {"ssh": "tcp/22"}, key: example}
            parse_fragment(parse_document("a.yml", json.dumps(content)), "prod")


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        ("", "", "is empty", "the keys it needs: owner"),
        ("owner: play", "", "declares nothing", "services: {https: tcp/443}"),
        ("owner: role\nservices: {a: b}", "owner", "`role` is none of play", "play"),
        ("services: {a: b}", "owner", "key `owner` is missing", "`owner: play`"),
        ("owner: play\nadvertise: []", "advertise", "has too few items", "2001:db8:10::/48"),
        ("owner: play\nservices: {}", "services", "has too few items", "tcp/443"),
        ("owner: play\nadvertise: ['fe80::/64']", "advertise[0]", "link-local", "2001:db8:10::/48"),
        ("owner: play\nadvertise: [10.0.0.0/8]", "advertise[0]", "IPv4 prefix", "take it out"),
        ("owner: play\nservices: {https: 443}", "services.https", "reads `443` as a whole number", 'quotes: "443"'),
        ("owner: play\nservices: {Https: x}", "services", "`Https` is not of the form it needs", "DNS label"),
        ("owner: play\nservices: {a: ''}", "services.a", "is too short", "tcp/443"),
        (f"owner: play\nservices: {{a: '{'ä' * 128}'}}", "services.a", "longer than 255 bytes", "shorten it"),
    ],
)
def test_faults(text: str, where: str, what: str, fix: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_fragment(parse_document("a.yml", text), "prod")
    error = caught.value
    assert (error.file, error.where) == ("a.yml", where)
    assert what in error.what and fix in error.fix
