"""One declaration: what it means, and one clear error for each way to get it wrong."""

from __future__ import annotations

import json
import os
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from smegmesh.crdt.entry import Role
from smegmesh.declaration import (
    AgentSettings,
    Bootstrap,
    DeclarationError,
    DnsSettings,
    Health,
    HostPort,
    StaticPeer,
    load_agent,
)
from smegmesh.declaration.document import MAX_FILE_SIZE, parse_document, read_text
from smegmesh.declaration.parse import parse_declaration, parse_host_port
from smegmesh.declaration.schema import read_schema
from smegmesh.declaration.values import Declaration
from smegmesh.identity.address import mesh_prefix
from smegmesh.identity.keys import encode_key

PEER = "owner: role\nmesh: prod\nrole: peer\nendpoint: 198.18.0.11\n"
CLIENT = "owner: role\nmesh: prod\nrole: client\n"
TWO = "bootstrap: [{{name: a, address: b}}, {{name: a, {}}}]"
PHONE, ROUTER = encode_key(b"p" * 32), encode_key(b"r" * 32)
STATIC = "static_peers: {{{}: {{public_key: {}}}}}"
TWINS = f"static_peers: {{a: {{public_key: {PHONE}}}, b: {{public_key: {PHONE}}}}}"
OWN = mesh_prefix("prod")
BEHIND = f"static_peers: {{{{a: {{{{public_key: {PHONE}, allowed_ips: ['{{}}']}}}}"
A_FIRST = "static_peers.a.allowed_ips[0]"
B_FIRST = "static_peers.b.allowed_ips[0]"
AND_B = f", b: {{public_key: {ROUTER}, allowed_ips: ['2001:db8:7::/48']}}}}"
HOST_IN_OWN = next(OWN.subnets(new_prefix=128))
EXIT = PEER + "advertise: ['2001:db8:10::/48']\n"
TARGET = "health: {{target: '2001:db8:10::1', {}}}"
BOOTSTRAP = 'bootstrap: [{name: a1, address: "198.18.0.11:4000"}]\n'


def parse(text: str) -> Declaration:
    return parse_declaration(parse_document("prod.yml", text))


def error_of(text: str) -> DeclarationError:
    with pytest.raises(DeclarationError) as caught:
        parse(text)
    return caught.value


def test_least_peer_has_defaults() -> None:
    declaration = parse(PEER)
    assert declaration == Declaration(
        "prod.yml", "role", "prod", Role.PEER, "smeg-prod", endpoint=HostPort("198.18.0.11", None)
    )
    assert (declaration.authority, declaration.port, declaration.keepalive) == ("default", None, 25)


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\0b"', "|\n  two\n  lines\n", r'"smeg-prod\n"'])
def test_what_cannot_be_printed_is_no_text(text: str) -> None:
    error = error_of(PEER + f"description: {text}\n")
    assert error.where == "description" and "cannot be printed" in error.what
    assert str(error).isprintable()
    assert "cannot be printed" in error_of(PEER + r'"\ud800": 1' + "\n").what


def test_every_key_arrives() -> None:
    declaration = parse(
        PEER
        + BOOTSTRAP
        + "authority: other\nport: 51821\ninterface: wg7\nalias: web\ndescription: the web host, Zürich\nkeepalive: 0\n"
        + "bridge: true\nadvertise: ['2001:db8:10::/48', '::/0', fd00::/8]\naccept_routes: ['2001:db8::/32']\n"
        + "accept_default: true\nmtu: 1380\nmasquerade: false\nendpoint_discovery: observed\n"
        + "pre_up: [/etc/a, /etc/b]\npost_up: [/etc/c]\npre_down: [/etc/d]\npost_down: [/etc/e]\n"
        + "health: {target: '2001:db8:10::1', interval: 0.5, misses: 5}\n"
        + f"static_peers: {{tablet: {{public_key: {PHONE}}},\n"
        + f"  phone: {{public_key: {ROUTER}, endpoint: 'r.example:7', keepalive: 25, preshared_key: true,\n"
        + "  allowed_ips: ['2001:db8:20::/64']}}\n"
    )
    assert declaration == Declaration(
        file="prod.yml",
        owner="role",
        mesh="prod",
        role=Role.PEER,
        interface="wg7",
        authority="other",
        endpoint=HostPort("198.18.0.11", None),
        endpoint_discovery="observed",
        port=51821,
        bootstrap=(Bootstrap("a1", "198.18.0.11:4000"),),
        alias="web",
        description="the web host, Zürich",
        keepalive=0,
        bridge=True,
        advertise=tuple(map(IPv6Network, ("2001:db8:10::/48", "::/0", "fd00::/8", "2001:db8:20::/64"))),
        masquerade=False,
        health=Health(IPv6Address("2001:db8:10::1"), 0.5, 5),
        accept_routes=(IPv6Network("2001:db8::/32"),),
        accept_default=True,
        static_peers=(
            StaticPeer("phone", b"r" * 32, HostPort("r.example", 7), 25, True, (IPv6Network("2001:db8:20::/64"),)),
            StaticPeer("tablet", b"p" * 32),
        ),
        mtu=1380,
        pre_up=("/etc/a", "/etc/b"),
        post_up=("/etc/c",),
        pre_down=("/etc/d",),
        post_down=("/etc/e",),
    )


def test_all_routes_are_no_list_of_routes() -> None:
    declaration = parse(PEER + "accept_routes: all\n")
    assert (declaration.accept_all, declaration.accept_routes, declaration.accept_default) == (True, (), False)
    assert not parse(PEER + "accept_routes: ['2001:db8::/32']\n").accept_all


def test_health_has_defaults() -> None:
    assert parse(EXIT + "health: {target: '2001:db8:10::1'}\n").health == Health(IPv6Address("2001:db8:10::1"), 1.0, 3)
    assert parse(EXIT).health is None


@pytest.mark.parametrize("discovery", ["outgoing", "observed"])
def test_a_discovered_endpoint_need_not_be_declared(discovery: str) -> None:
    bare = PEER.replace("endpoint: 198.18.0.11\n", "") + f"endpoint_discovery: {discovery}\n"
    assert (parse(bare).endpoint, parse(bare).endpoint_discovery) == (None, discovery)
    assert parse(PEER + f"endpoint_discovery: {discovery}\n").endpoint == HostPort("198.18.0.11", None)


def test_every_key_of_the_schemas_has_a_description_and_a_good_example() -> None:
    for name in ("declaration", "agent"):
        for key, schema in read_schema(name)["properties"].items():
            assert schema["description"] and schema["examples"], f"{name}.{key}"
    for key, schema in read_schema("declaration")["properties"].items():
        for example in schema["examples"]:
            content = {"owner": "role", "mesh": "prod", "role": "peer", "endpoint": "198.18.0.1"}
            content |= {"advertise": ["2001:db8:10::/48"]} if key == "health" else {}
            content[key] = example
            parse(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "where", "what", "fix"),
    [
        (PEER + "prot: 51820", "prot", "unknown key `prot`", "did you mean `port`?"),
        (PEER + "zzzz: 1", "zzzz", "unknown key `zzzz`", "the keys are owner, mesh,"),
        (PEER.replace("role: peer", "rolle: peer"), "rolle", "unknown key", "did you mean `role`?"),
        (PEER.replace("role: peer\n", ""), "role", "key `role` is missing", "`role: peer`"),
        (PEER.replace("role: peer", "role: pear"), "role", "`pear` is none of peer, client", "client"),
        (PEER.replace("owner: role", "owner: me"), "owner", "`me` is none of role, play, local", "role"),
        (PEER.replace("prod", "Prod"), "mesh", "mesh id 'Prod'", "use a name like 'prod'"),
        (PEER.replace("prod", "a..b"), "mesh", "mesh id 'a..b'", "use a name like 'prod'"),
        (PEER.replace("prod", "no"), "mesh", "YAML reads `no` as true or false", 'in quotes: "no"'),
        (PEER.replace("prod", "0x10"), "mesh", "YAML reads `0x10` as a whole number", 'in quotes: "0x10"'),
        (PEER + "alias: 12:30", "alias", "YAML reads `12:30` as a whole number", 'in quotes: "12:30"'),
        (PEER + "alias: ~", "alias", "must be text, not empty", "web"),
        (PEER + "alias: 2026-01-01", "alias", "YAML reads `2026-01-01` as timestamp", 'in quotes: "2026-01-01"'),
        (PEER + "alias: Web", "alias", "`Web` is not of the form it needs", "DNS label"),
        (PEER + "port: '51820'", "port", "must be a whole number, not text ('51820')", "no quotes"),
        (PEER + "port: 70000", "port", "`70000` is out of range (the maximum is 65535)", "UDP port"),
        (PEER + "port: true", "port", "must be a whole number, not true or false", "UDP port"),
        (PEER + "bridge: 'yes'", "bridge", "must be true or false, not text ('yes')", "without quotes"),
        (PEER + "port: 1\nport: 2", "port", "key `port` is given twice (again in line 6)", "keep one"),
        (PEER + "1: 2", "", "key `1` (line 5) is not read as text", "quotes"),
        (PEER + "mtu: 1200", "mtu", "out of range (the minimum is 1280)", "MTU"),
        (PEER + "interface: a-name-too-long-for-linux", "interface", "is not of the form", "15 characters"),
        (PEER + "interface: a/b", "interface", "is not of the form", "15 characters"),
        (PEER + "authority: ../x", "authority", "is not of the form", "directory under authorities/"),
        (PEER + "description: " + "x" * 256, "description", "is too long (255 characters)", "255"),
        (PEER + "description: " + "ü" * 200, "description", "longer than 255 bytes", "shorten"),
        (PEER + "bootstrap: a1", "bootstrap", "must be a list, not text", "address"),
        (PEER + "bootstrap: [{name: a1}]", "bootstrap[0].address", "key `address` is missing", "198.51.100.1:4000"),
        (PEER + TWO.format("adress: b"), "bootstrap[1].adress", "unknown key", "`address`"),
        (PEER + TWO.format("address: 'b:0'"), "bootstrap[1].address", "`b:0` is not host", "203.0.113.7"),
        (PEER + "advertise: [2001:db8::1/48]", "advertise[0]", "bits set", "did you mean `2001:db8::/48`?"),
        (PEER + "advertise: [2001:db8::/32, 198.18.5.0/24]", "advertise[1]", "the overlay is IPv6 only", "outside"),
        (PEER + "advertise: [198.18.5.1/24]", "advertise[0]", "IPv4 prefix, and the overlay is IPv6", "outside"),
        (PEER + f"advertise: ['{OWN}']", "advertise[0]", f"in the prefix of mesh prod itself ({OWN})", "2001:db8:10"),
        (PEER + f"advertise: ['{HOST_IN_OWN}']", "advertise[0]", "in the prefix of mesh prod itself", "2001:db8:10"),
        (PEER + "advertise: ['fe80::/64']", "advertise[0]", "`fe80::/64` is link-local", "forwards to"),
        (PEER + "advertise: ['ff05::/16']", "advertise[0]", "`ff05::/16` is multicast", "forwards to"),
        (PEER + "advertise: ['::1/128']", "advertise[0]", "`::1/128` is loopback", "forwards to"),
        (PEER + "advertise: ['2001:db8::%eth0/48']", "advertise[0]", "names an interface", "2001:db8:10::/48"),
        (PEER + "advertise: ['::/128']", "advertise[0]", "`::/128` is unspecified", "forwards to"),
        (PEER + "accept_routes: ['2001:db8::/32', x]", "accept_routes[1]", "`x` is not a prefix", "2001:db8:10::/48"),
        (PEER + "accept_routes: ['fd00::/8', '::/0']", "accept_routes[1]", "default route", "accept_default: true"),
        (PEER + "accept_routes: [0.0.0.0/0]", "accept_routes[0]", "IPv4 prefix, and the overlay is IPv6", "outside"),
        (PEER + "accept_routes: al", "accept_routes", "`al` is not of the form it needs", "or the word all"),
        (PEER + "accept_routes: 1", "accept_routes", "must be a list or text, not a whole number", "the word all"),
        (PEER + "masquerade: 'no'", "masquerade", "must be true or false, not text ('no')", "without quotes"),
        (PEER + "endpoint_discovery: stun", "endpoint_discovery", "is none of static, outgoing, observed", "static"),
        (PEER + "health: {target: '2001:db8::1'}", "health", "advertises nothing that could be", "add `advertise`"),
        (PEER + "advertise: []\nhealth: {target: '2001:db8::1'}", "health", "advertises nothing", "add `advertise`"),
        (EXIT + "health: 2001:db8::1", "health", "must be a mapping (key: value), not text", '"target"'),
        (EXIT + "health: {}", "health.target", "key `target` is missing", "2001:db8:10::1"),
        (EXIT + "health: {tarrget: x}", "health.tarrget", "unknown key", "did you mean `target`?"),
        (EXIT + "health: {target: 198.18.0.1}", "health.target", "`198.18.0.1` is not an IPv6 address", "2001:db8:10"),
        (EXIT + "health: {target: a.example.org}", "health.target", "is not an IPv6 address", "2001:db8:10::1"),
        (EXIT + "health: {target: '2001:db8::1%eth0'}", "health.target", "names an interface", "2001:db8:10::1"),
        (EXIT + "health: {target: 'fe80::1'}", "health.target", "`fe80::1` is link-local", "2001:db8:10::1"),
        (EXIT + f"health: {{target: '{OWN[1]}'}}", "health.target", "in the prefix of mesh prod itself", "behind"),
        (EXIT + TARGET.format("interval: 0.1"), "health.interval", "out of range (the minimum is 0.2)", "seconds"),
        (EXIT + TARGET.format("interval: 61"), "health.interval", "out of range (the maximum is 60)", "seconds"),
        (EXIT + TARGET.format("interval: .inf"), "health.interval", "out of range (the maximum is 60)", "seconds"),
        (EXIT + TARGET.format("interval: .nan"), "health.interval", "is no number of seconds", "0.2 to 60"),
        (EXIT + TARGET.format("interval: '1'"), "health.interval", "must be a number, not text ('1')", "no quotes"),
        (EXIT + TARGET.format("misses: 0"), "health.misses", "out of range (the minimum is 1)", "pings"),
        (EXIT + TARGET.format("misses: 11"), "health.misses", "out of range (the maximum is 10)", "pings"),
        (EXIT + TARGET.format("misses: 1.5"), "health.misses", "must be a whole number, not a number", "pings"),
        (PEER + "advertise: ['::/0', '::/0']", "advertise[1]", "is there twice", "keep one"),
        (PEER + "pre_up: /etc/hook", "pre_up", "must be a list, not text", "/etc/smegmesh/hooks/pre-up"),
        (PEER + "pre_up: []", "pre_up", "has too few items (at least 1)", "1 to 8 absolute paths"),
        (PEER + f"post_up: {['/x'] * 9}", "post_up", "has too many items (at most 8)", "1 to 8 absolute paths"),
        (PEER + "pre_down: [/a, hook]", "pre_down[1]", "`hook` is not an absolute path", "hooks/pre-down"),
        (PEER + "post_down: [/a/]", "post_down[0]", "`/a/` is not an absolute path of a file", "hooks/post-down"),
        (PEER.replace("endpoint: 198.18.0.11\n", ""), "endpoint", "a peer needs an endpoint", "role: client"),
        (PEER.replace("198.18.0.11", "0.0.0.0"), "endpoint", "`0.0.0.0` is not host or host:port", "203.0.113.7"),
        (CLIENT, "bootstrap", "mesh prod has no peer", "name at least one peer"),
        (CLIENT + "bootstrap: []", "bootstrap", "mesh prod has no peer", "name at least one peer"),
        (CLIENT + BOOTSTRAP + "endpoint: a", "endpoint", "a client has no endpoint", "take it out"),
        (CLIENT + BOOTSTRAP + "bridge: true", "bridge", "a client cannot be a bridge", "role: peer"),
        ("", "", "is empty", "owner, mesh, role"),
        (PEER + STATIC.format("a", "secret"), "static_peers.a.public_key", "not a key", "44 characters"),
        (PEER + "static_peers: {a: {}}", "static_peers.a.public_key", "key `public_key` is missing", "wg pubkey"),
        (PEER + STATIC.format("My Phone", PHONE), "static_peers", "`My Phone` is not of the form", "phone"),
        (PEER + BEHIND.format("::/0") + "}", A_FIRST, "would lead all", "networks behind it"),
        (PEER + BEHIND.format(OWN) + "}", A_FIRST, "in the prefix of mesh prod", "name a network"),
        (PEER + BEHIND.format("198.18.0.0/24") + "}", A_FIRST, "is an IPv4 prefix", "outside the mesh"),
        (EXIT + BEHIND.format("2001:db8:10:1::/64") + "}", A_FIRST, "overlaps 2001:db8:10::/48 of `adv", "one of"),
        (PEER + BEHIND.format("2001:db8:7::/64") + AND_B, B_FIRST, "of static peer a", "one of them"),
        (PEER + TWINS, "static_peers.b.public_key", "the key of static peer a too", "its own key"),
        (PEER + STATIC.format("a", f"{PHONE}, endpoint: a b"), "static_peers.a.endpoint", "is not host", "write"),
        (CLIENT + BOOTSTRAP + STATIC.format("a", PHONE), "static_peers", "a client carries no static peers", "peer"),
        ("[1, 2]", "", "must be a mapping (key: value), not a list", "mend"),
        ("a: [", "", "is not valid YAML", "mend"),
        ("a: \x00", "", "is not valid YAML", "mend"),
        ("[" * 1_000, "", "nested too deeply", "mend"),
        ("a: &a [*a]", "a" + "[0]" * 16, "is too large or too deep", "shorten"),
        ("a: !!python/object:os.system x", "a", "as python/object:os.system, which no key takes", "quotes"),
    ],
)  # fmt: skip
def test_bad_input_has_one_clear_error(text: str, where: str, what: str, fix: str) -> None:
    error = error_of(text)
    assert error.file == "prod.yml"
    assert error.where == where
    assert what in error.what
    assert fix in error.fix
    assert "\n" not in str(error)


def test_a_preshared_key_written_where_none_belongs_is_in_no_error() -> None:
    error = error_of(PEER + STATIC.format("a", f"{PHONE}, preshared_key: {ROUTER}"))
    assert (error.where, error.what) == ("static_peers.a.preshared_key", "must be true or false, not text")
    assert ROUTER not in str(error)


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large" in error_of("\n".join(lines)).what


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.18.0.1", HostPort("198.18.0.1", None)),
        ("198.18.0.1:51820", HostPort("198.18.0.1", 51820)),
        ("2001:db8::1", HostPort("2001:db8::1", None)),
        ("[2001:db8::1]", HostPort("2001:db8::1", None)),
        ("[2001:db8::1]:1", HostPort("2001:db8::1", 1)),
        ("a1.example.org", HostPort("a1.example.org", None)),
        ("a1:65535", HostPort("a1", 65535)),
        *((bad, None) for bad in (
            "", ":1", "a:", "a:0", "a:65536", "a:x", "a b", "a:1:2", "[a]:1", "[198.18.0.1]:1", "256.0.0.1", "1.2.3",
            "::", "0.0.0.0", "ff02::1", "fe80::1%eth0", "-a", "a..b", "a:\uff11", "http://a", "a/b", "[::1", "a" * 300,
        )),
    ],
)  # fmt: skip
def test_host_port(text: str, expected: HostPort | None) -> None:
    assert parse_host_port(text) == expected


def test_host_port_text() -> None:
    assert HostPort("198.18.0.1", None).text(4000) == "198.18.0.1:4000"
    assert HostPort("2001:db8::1", 5).text(4000) == "[2001:db8::1]:5"


def test_files_that_are_none(tmp_path: Path) -> None:
    fifo, large, latin = tmp_path / "fifo", tmp_path / "large", tmp_path / "latin"
    os.mkfifo(fifo)
    large.write_bytes(b"#" * (MAX_FILE_SIZE + 1))
    latin.write_bytes(b"description: Z\xfcrich")
    for path, what in (
        (fifo, "is not a regular file"),
        (tmp_path, "is not a regular file"),
        (large, "is larger than 64 KiB"),
        (latin, "is not UTF-8 (byte 14)"),
        (tmp_path / "none", "cannot be read: No such file"),
    ):
        with pytest.raises(DeclarationError) as caught:
            read_text(path)
        assert caught.value.file == str(path)
        assert what in caught.value.what


def test_agent_settings(tmp_path: Path) -> None:
    path = tmp_path / "agent.yml"
    path.write_text("node_name: a1\n")
    assert load_agent(path) == AgentSettings("a1", 4000, "::", "auto", "info")
    path.write_text("node_name: a1\nlink_port: 4001\nlisten: 198.18.0.1\nplane: memory\nlog_level: debug\n")
    assert load_agent(path) == AgentSettings("a1", 4001, "198.18.0.1", "memory", "debug")
    path.write_text('node_name: a1\napi: {listen: "[::]:4080"}\n')
    assert load_agent(path) == AgentSettings("a1", api_listen="[::]:4080")
    path.write_text("node_name: a1\nmetrics: {listen: 127.0.0.1:4081, per_peer: true}\n")
    assert load_agent(path) == AgentSettings("a1", metrics_listen="127.0.0.1:4081", metrics_per_peer=True)
    path.write_text("node_name: a1\nmetrics: {per_peer: true}\n")
    assert load_agent(path) == AgentSettings("a1", metrics_per_peer=True)
    path.write_text("node_name: a1\nfirewall: {chains: [inet filter input]}\n")
    assert load_agent(path) == AgentSettings("a1", firewall_chains=("inet filter input",))
    path.write_text('node_name: a1\ndns: {listen: "[::1]:53"}\n')
    assert load_agent(path) == AgentSettings("a1", dns=DnsSettings("[::1]:53", "smeg", resolved=False))
    path.write_text('node_name: a1\ndns: {listen: "127.0.0.1:53", domain: mesh.test, resolved: true}\n')
    assert load_agent(path) == AgentSettings("a1", dns=DnsSettings("127.0.0.1:53", "mesh.test", resolved=True))


@pytest.mark.parametrize(
    ("text", "where", "fix"),
    [
        ("link_port: 4000", "node_name", "node_name: a1"),
        ("node_name: a 1", "node_name", "use 1 to 64 letters"),
        ("node_name: a1\nlisten: everywhere", "listen", "`::` for all"),
        ("node_name: a1\nplane: kernal", "plane", "auto takes the kernel's"),
        ("node_name: a1\nlinkport: 1", "linkport", "did you mean `link_port`?"),
        ("node_name: a1\napi: {port: 4080}", "api.port", "the keys are listen"),
        ("node_name: a1\napi: {}", "api.listen", "`listen: 198.18.0.1:4080`"),
        ("node_name: a1\ndns: {domain: smeg}", "dns.listen", "`listen: [::1]:53`"),
        ("node_name: a1\ndns: {listen: '[::1]:53', domain: Smeg.}", "dns.domain", "a DNS name in lower case"),
        ("node_name: a1\ndns: {listen: '[::1]:53', zone: x}", "dns.zone", "the keys are listen, domain, resolved"),
        ("node_name: a1\napi: true", "api", "the API over TLS"),
        ("node_name: a1\nmetrics: {per_peers: true}", "metrics.per_peers", "did you mean `per_peer`?"),
        ("node_name: a1\nmetrics: {listen: 4081}", "metrics.listen", 'write it in quotes: "4081"'),
        ("node_name: a1\nfirewall: {chains: []}", "firewall.chains", "inet filter input"),
        ("node_name: a1\nfirewall: {chains: [input]}", "firewall.chains[0]", "inet filter input"),
    ],
)
def test_bad_agent_settings(tmp_path: Path, text: str, where: str, fix: str) -> None:
    path = tmp_path / "agent.yml"
    path.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        load_agent(path)
    assert caught.value.where == where
    assert fix in caught.value.fix
