# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found on a host that has something of what the agent would take."""

from __future__ import annotations

import json
import os
import socket

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, conflicts, sockets

PREFIX = "fd94:2a49:680b:debe::/64"
DUMMY = [{"ifname": "smeg-prod", "linkinfo": {"info_kind": "dummy"}}]


class Module:
    """As much of AnsibleModule as is asked for, on a host with these routes and links."""

    def __init__(self, routes=(), links=()):
        self.answers = {"route": list(routes), "link": list(links)}

    def get_bin_path(self, name, **_options):
        return "/sbin/" + name

    def run_command(self, command, **_options):
        return 0, json.dumps(next(said for what, said in self.answers.items() if what in command)), ""


@pytest.fixture(name="host", autouse=True)
def fixture_host(tmp_path, monkeypatch):
    """A host on which nothing makes interfaces and no agent was ever."""
    monkeypatch.setattr(conflicts, "SYSTEM_LINKS", str(tmp_path / "net"))
    monkeypatch.setattr(conflicts, "WG_QUICK", str(tmp_path / "%s.conf"))
    monkeypatch.setattr(conflicts, "IFCFG", (str(tmp_path / "ifcfg-%s"),))
    monkeypatch.setattr(conflicts, "INTERFACES", (str(tmp_path / "interfaces"),))
    monkeypatch.setattr(conflicts, "NETDEVS", (str(tmp_path / "etc/*.netdev"), str(tmp_path / "usr/*.netdev")))
    monkeypatch.setattr(conflicts, "CONNECTIONS", (str(tmp_path / "*.nmconnection"),))
    monkeypatch.setattr(agent, "STATE", str(tmp_path / "state"))
    monkeypatch.setattr(agent, "SMEGCTL", str(tmp_path / "smegctl"))
    monkeypatch.setattr(sockets, "bound", list)
    return tmp_path


def claim(**other):
    return {"mesh": "prod", "interface": "smeg-prod", "port": None, "prefix": PREFIX, "routes": [], **other}


def running(monkeypatch, *meshes):
    """As if an agent ran with these meshes."""
    monkeypatch.setattr(agent, "installed", lambda: True)
    monkeypatch.setattr(agent, "smegctl", lambda _module, _arguments: {"meshes": list(meshes)})


def bind(monkeypatch, protocol, port, address="0.0.0.0", uid=0, process="dnsmasq (pid 812)"):
    """As if somebody had that port."""
    taken = sockets.Bound(protocol, sockets.ipaddress.ip_address(address), port, uid, 1)
    monkeypatch.setattr(sockets, "bound", lambda: [taken])
    monkeypatch.setattr(sockets.Bound, "process", lambda self: process)


def test_a_host_with_nothing_in_the_way():
    assert conflicts.find(Module(), [claim(port=51820)], [{"setting": "x", "port": 4000, "address": "::"}]) == []


# --- interfaces


@pytest.mark.parametrize(
    ("file", "content", "maker"),
    [
        ("smeg-prod.conf", "[Interface]\n", "wg-quick"),
        ("etc/x.netdev", "[Match]\n[NetDev]\nName = smeg-prod\nKind=wireguard\n[WireGuardPeer]\n", "systemd-networkd"),
        ("a.nmconnection", "[connection]\nid=a\ninterface-name=smeg-prod\n", "NetworkManager"),
        ("ifcfg-smeg-prod", "DEVICE=smeg-prod\n", "network-scripts"),
        ("interfaces", "auto smeg-prod\n  iface smeg-prod inet6 static\n", "ifupdown"),
    ],
)
def test_who_else_makes_an_interface_of_that_name(host, file, content, maker):
    path = host / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert conflicts.find(Module(), [claim(interface="smeg-pro")], []) == []
    (found,) = conflicts.find(Module(), [claim()], [])
    assert found.startswith("interface smeg-prod of mesh prod is made by ")
    assert maker in found and str(path) in found
    assert "declare another `interface` for mesh prod" in found


def test_a_netdev_that_is_overridden_makes_nothing(host):
    for directory, name in (("usr", "smeg-prod"), ("etc", "other")):
        (host / directory).mkdir()
        (host / directory / "1.netdev").write_text("[NetDev]\nName=%s\n" % name)
    assert conflicts.find(Module(), [claim()], []) == []


def test_files_that_cannot_be_read_make_nothing(host):
    (host / "etc").mkdir()
    (host / "etc" / "1.netdev").write_bytes(b"\xff no section\nName=smeg-prod\n")
    (host / "etc" / "2.netdev").symlink_to("/nowhere")
    assert conflicts.find(Module(), [claim()], []) == []


def test_an_interface_that_is_somebody_elses(host, monkeypatch):
    (host / "net" / "smeg-prod").mkdir(parents=True)
    (found,) = conflicts.find(Module(links=DUMMY), [claim()], [])
    assert "a link of kind dummy that the agent did not make" in found
    assert "ip link delete smeg-prod" in found
    running(monkeypatch, {"mesh": "prod", "interface": "smeg-prod", "port": 51820})
    assert conflicts.find(Module(links=DUMMY), [claim()], []) == []


def test_an_interface_of_a_stopped_agent_is_known_by_its_routes(host):
    (host / "net" / "smeg-prod").mkdir(parents=True)
    route = {"dst": PREFIX, "dev": "smeg-prod", "protocol": "87"}
    assert conflicts.find(Module([route]), [claim()], []) == []


# --- ports


def test_a_udp_port_of_somebody_else(monkeypatch):
    bind(monkeypatch, "udp", 51999, "127.0.0.1")
    (found,) = conflicts.find(Module(), [claim(port=51999)], [])
    assert found.startswith("UDP port 51999 of mesh prod is in use by dnsmasq (pid 812): declare another `port`")
    assert conflicts.find(Module(), [claim(port=51998)], []) == []


def test_a_udp_port_that_would_be_chosen(host, monkeypatch):
    meshes = [claim(), claim(mesh="lab", interface="smeg-lab"), claim(mesh="x", interface="x", port=51820)]
    bind(monkeypatch, "udp", 51822)
    (found,) = conflicts.find(Module(), meshes, [])
    assert found.startswith("UDP port 51822 of mesh prod, which the agent would choose, is in use")
    (host / "state").mkdir()
    (host / "state" / "state.db").touch()
    assert conflicts.find(Module(), meshes, []) == [], "it has chosen already, and can say by itself"


def test_udp_ports_of_the_agents_own(monkeypatch):
    me = sockets.pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(agent, "USER", me)
    bind(monkeypatch, "udp", 51820, uid=os.getuid())
    assert conflicts.find(Module(), [claim(port=51820)], []) == []


@pytest.mark.parametrize(("own", "problems"), [(51820, 0), (51821, 1)])
def test_a_udp_port_of_the_kernel_is_whose_the_agent_says(monkeypatch, own, problems):
    monkeypatch.setattr(agent, "USER", "nobody-there")
    bind(monkeypatch, "udp", 51820, process=None)
    running(monkeypatch, {"mesh": "prod", "interface": "smeg-prod", "port": own})
    assert len(conflicts.find(Module(), [claim(port=51820)], [])) == problems


def test_a_udp_port_of_the_kernel_may_be_a_stopped_agents(monkeypatch):
    monkeypatch.setattr(agent, "USER", "nobody-there")
    bind(monkeypatch, "udp", 51820, process=None)
    route = {"dst": PREFIX, "dev": "smeg-prod", "protocol": "87"}
    assert conflicts.find(Module([route]), [claim(port=51820)], []) == []
    assert "the kernel" in conflicts.find(Module(), [claim(port=51820)], [])[0]


@pytest.mark.parametrize(
    ("bound", "listen", "problems"),
    [
        ("127.0.0.1", "::", 1),
        ("::", "198.18.0.1", 1),
        ("127.0.0.1", "198.18.0.1", 0),
        ("198.18.0.1", "::ffff:198.18.0.1", 1),
        ("0.0.0.0", "2001:db8::1", 0),
        ("2001:db8::1", "0.0.0.0", 0),
        ("2001:db8::1", "::", 1),
        ("0.0.0.0", "198.18.0.1", 1),
    ],
)
def test_the_port_of_links(monkeypatch, bound, listen, problems):
    bind(monkeypatch, "tcp", 4000, bound)
    found = conflicts.find(Module(), [], [{"setting": "smegmesh_link_port", "port": 4000, "address": listen}])
    assert len(found) == problems
    for text in found:
        assert text.startswith("TCP port 4000 (smegmesh_link_port) is in use by dnsmasq (pid 812): set another")


# --- sockets as this kernel lists them


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")]
)
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_bound_socket_is_found_with_its_process(monkeypatch, family, address, kind):
    monkeypatch.undo()
    with socket.socket(family, kind) as mine:
        mine.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            assert mine.getsockname()[1] not in {item.port for item in sockets.bound() if item.protocol == "tcp"}
            mine.listen()
        protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
        port = mine.getsockname()[1]
        (found,) = [item for item in sockets.bound() if (item.protocol, item.port) == (protocol, port)]
        assert str(found.address) == address
        assert found.uid == os.getuid()
        assert found.process().endswith("(pid %d)" % os.getpid())


# --- routes


def test_routes_within_the_mesh_and_of_what_it_accepts():
    routes = [
        {"dst": "default", "dev": "eth0", "protocol": "ra"},
        {"dst": "fd94:2a49:680b:debe::/64", "dev": "tun0", "protocol": "static"},
        {"dst": "fd94:2a49:680b:debe:1::/80", "dev": "tun1", "protocol": "boot"},
        {"dst": "fd94:2a49:680b:debe::1", "dev": "tun2", "protocol": "boot"},
        {"dst": "fd00::/8", "dev": "eth0", "protocol": "boot"},
        {"dst": "2001:db8:10::/48", "dev": "eth1", "protocol": "kernel"},
        {"dst": "2001:db8:11::/64", "dev": "eth1", "protocol": "kernel"},
        {"dst": "2001:db8:12::/48", "dev": "smeg-prod", "protocol": "87"},
    ]
    accepted = ["2001:db8:10::/48", "2001:db8:11::/48", "2001:db8:12::/48"]
    found = conflicts.find(Module(routes), [claim(routes=accepted)], [])
    assert [text.split(" (")[0] for text in found] == [
        "fd94:2a49:680b:debe::/64 of mesh prod is already routed by something else",
        "fd94:2a49:680b:debe:1::/80 of mesh prod is already routed by something else",
        "fd94:2a49:680b:debe::1/128 of mesh prod is already routed by something else",
        "2001:db8:10::/48, which mesh prod accepts from others, is already routed by something else",
    ]
    assert "dev tun0, proto static" in found[0]
    assert "accept_routes" in found[3]
