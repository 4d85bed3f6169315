"""A device without an agent: what its host exports is all it needs to be in the mesh."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from agents import MESH, Agent, eventually
from namespaces import Host, Lab

from smegmesh.identity.address import node_address
from smegmesh.identity.keys import encode_key, generate_private_key, public_key

pytestmark = pytest.mark.netns

DEVICE = "wg0"
_PATH = "PYTHONPATH=" + os.pathsep.join(path for path in sys.path if path.endswith("/src"))


class Phone:
    """A host with WireGuard and nothing else."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._private = generate_private_key()
        self.key = public_key(self._private)
        self.address = node_address(MESH, self.key)

    def set_up(self, exported: str) -> None:
        """As wg-quick does it, with the private key where the file says it belongs."""
        lines = exported.splitlines()
        address = next(line.removeprefix("Address = ") for line in lines if line.startswith("Address = "))
        placeholder = next(line for line in lines if line.startswith("# PrivateKey = "))
        config = [f"PrivateKey = {encode_key(self._private)}" if line == placeholder else line for line in lines]
        text = "\n".join(line for line in config if not line.startswith("Address"))
        self.host.run("wireguard-go", DEVICE)
        self.host.run("wg", "setconf", DEVICE, "/dev/stdin", stdin=text)
        self.host.run("ip", "address", "add", address, "dev", DEVICE, "nodad")
        self.host.run("ip", "link", "set", DEVICE, "up")
        allowed = next(line.removeprefix("AllowedIPs = ") for line in lines if line.startswith("AllowedIPs = "))
        for prefix in allowed.split(", "):
            self.host.run("ip", "route", "add", prefix, "dev", DEVICE)


def smegctl(agent: Agent, *arguments: str) -> str:
    places = ["--socket", str(agent.run / "api.sock")]
    places += ["--state", str(agent.state)] if arguments[0] == "export-client" else []
    return agent.host.run("env", _PATH, sys.executable, "-m", "smegmesh.cli", *arguments, *places)


def reach(host: Host, address: IPv6Address) -> Callable[[], bool]:
    return lambda: host.pings(address, 2)


def knows(agent: Agent, count: int) -> bool:
    mesh = agent.mesh()
    return mesh is not None and mesh["members"]["alive"] == count


def test_a_phone_is_in_the_mesh_through_the_host_that_declares_it(
    lab: Lab, make: Callable[..., Agent], tmp_path: Path
) -> None:
    phone = Phone(lab.host("phone"))
    carrier = make("carrier", prefixes=(f"{phone.address}/128",))
    peer, client = make("peer"), make("client")
    bootstrap = [carrier.host, peer.host]
    static = {"phone": {"public_key": encode_key(phone.key), "preshared_key": True}}
    carrier.declare("peer", bootstrap, static_peers=static)
    peer.declare("peer", bootstrap)
    client.declare("client", [peer.host])
    for agent in (carrier, peer, client):
        agent.start()
    eventually(lambda: all(knows(agent, 3) for agent in (carrier, peer, client)), 30, "all know all")

    file = tmp_path / "phone.conf"
    assert "PresharedKey = (" in smegctl(carrier, "export-client", MESH, "phone"), "only who asks for a secret sees it"
    eventually(lambda: carrier.client().static_peers(MESH)[0]["preshared_key"], 10, "the tunnel has its preshared key")
    smegctl(carrier, "export-client", MESH, "phone", "--preshared-key", "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    phone.set_up(file.read_text())

    for agent in (carrier, peer, client):
        eventually(reach(phone.host, agent.address), 10, f"the phone reaches {agent.host.name}")
        eventually(reach(agent.host, phone.address), 10, f"{agent.host.name} reaches the phone")
    assert peer.members()["carrier"]["static_peers"] == {"phone": str(phone.address)}
    (known,) = json.loads(smegctl(carrier, "static-peers", MESH, "--json"))[MESH]
    assert known["handshake_age"] < 60
    secret = next(line.split(" = ")[1] for line in file.read_text().splitlines() if line.startswith("PresharedKey"))
    assert secret not in carrier.log.read_text() + json.dumps(carrier.client().status()) + json.dumps(known)

    carrier.declare("peer", bootstrap)
    carrier.client().reload()
    eventually(lambda: not peer.host.pings(phone.address), 10, "who is not declared any more is not carried")
    assert not [path.name for path in (carrier.state / "keys").iterdir() if path.name.startswith("static")]


def test_the_network_behind_a_router_is_reached_by_who_accepts_it_and_by_nobody_else(
    lab: Lab, make: Callable[..., Agent]
) -> None:
    router = Phone(lab.host("router"))
    behind, inside = "2001:db8:20::/64", "2001:db8:20::7"
    carrier = make("carrier", prefixes=(f"{router.address}/128", behind))
    taker, other = make("taker"), make("other")
    bootstrap = [carrier.host, taker.host]
    static = {"router": {"public_key": encode_key(router.key), "allowed_ips": [behind]}}
    carrier.declare("peer", bootstrap, static_peers=static)
    taker.declare("peer", bootstrap, accept_routes=[behind])
    other.declare("peer", bootstrap)
    for agent in (carrier, taker, other):
        agent.start()
    eventually(lambda: all(knows(agent, 3) for agent in (carrier, taker, other)), 30, "all know all")
    router.set_up(smegctl(carrier, "export-client", MESH, "router"))
    router.host.run("ip", "address", "add", f"{inside}/128", "dev", "lo")
    eventually(reach(router.host, other.address), 10, "the router is in the mesh")
    for agent in (carrier, taker):
        eventually(reach(agent.host, IPv6Address(inside)), 10, f"{agent.host.name} reaches what is behind it")
    assert router.host.run("ping", "-n", "-c", "1", "-W", "2", "-I", inside, str(taker.address))
    assert not other.host.pings(inside), "who does not accept it does not send there"

    carrier.declare("peer", bootstrap)
    carrier.client().reload()
    eventually(lambda: "2001:db8:20" not in carrier.host.run("ip", "-6", "route"), 10, "its route goes with it")
