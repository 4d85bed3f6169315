"""The nft table with real packets: pairs of interfaces play those of meshes, and the bridge is what is outside."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator
from ipaddress import IPv6Network

import pytest
from inside import Inside
from namespaces import Host, Lab

from smegmesh.dataplane import firewall
from smegmesh.dataplane.forwarding import enable_forwarding
from smegmesh.dataplane.policy import LinuxPolicy
from smegmesh.routing.tables import Forwarding, HostPlan, Route, Rule

pytestmark = pytest.mark.netns

A, B, C = "smeg-a", "smeg-b", "smeg-c"
DEFAULT = IPv6Network("::/0")
PORT = 4242
NO_DUPLICATE_DETECTION = ("net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")


class Site:
    """A host with three meshes of one member each, in the middle of an outside.

    `outside` is on the bridge; behind it are 2001:db8:10::1, 2001:db8:11::1 and, as if a mesh's, fd00:c::99.
    """

    def __init__(self, lab: Lab) -> None:
        self.middle = lab.host("middle")
        self.outside = lab.host("outside")
        self.members: dict[str, Host] = {}
        for host in (self.middle, self.outside):
            # Neighbours are asked from a link-local address, which is not usable for a second or two otherwise.
            host.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "link")
            _address(host, f"fe80::{len(host.name)}/64", "eth0")
        self.middle.run("sysctl", "-w", *NO_DUPLICATE_DETECTION)
        for device, letter in ((A, "a"), (B, "b"), (C, "c")):
            member = lab.host(letter)
            member.run("sysctl", "-w", *NO_DUPLICATE_DETECTION)
            lab.join(self.middle, member, device)
            # A member that knows nobody outside but through its mesh, and does not keep to any plan.
            member.run("ip", "link", "set", "eth0", "down")
            _address(self.middle, f"fd00:{letter}::1/64", device)
            _address(member, f"fd00:{letter}::2/64", device)
            member.run("ip", "-6", "route", "add", "default", "via", f"fd00:{letter}::1")
            self.members[device] = member
        self.middle.run("ip", "-6", "route", "add", "default", "via", self.address_of_outside)
        self.middle.run("ip", "-6", "route", "add", "fd00:c:99::/64", "via", self.address_of_outside)
        for address in ("2001:db8:10::1", "2001:db8:10:5::1", "2001:db8:11::1", "fd00:c:99::1", "fd00:e::1"):
            _address(self.outside, f"{address}/128", "lo")

    @property
    def address(self) -> str:
        """The host's own, outside."""
        return "2001:db8::1"

    @property
    def address_of_outside(self) -> str:
        return "2001:db8::2"


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site(lab)


@pytest.fixture
def inside(site: Site) -> Iterator[Inside]:
    with Inside(site.middle) as opened:
        opened.call(enable_forwarding)
        yield opened


def test_a_bridge_forwards_between_the_listed_meshes_alone(site: Site, inside: Inside) -> None:
    inside.call(
        firewall.install,
        {
            A: Forwarding(meshes=frozenset({B})),
            B: Forwarding(meshes=frozenset({A})),
            C: Forwarding(frozenset({"gone"})),
        },
    )
    a, b, c = site.members.values()
    assert a.pings("fd00:b::2", 2) and b.pings("fd00:a::2", 2)
    assert not a.pings("fd00:c::2") and not c.pings("fd00:a::2") and not b.pings("fd00:c::2")
    assert not a.pings("2001:db8:10::1"), "no exit"
    assert not site.outside.pings("fd00:a::2", 1)
    site.outside.run("ip", "-6", "route", "add", "fd00::/16", "via", site.address)
    assert not site.outside.pings("fd00:a::2", 1)
    inside.call(firewall.install, {A: Forwarding(), B: Forwarding(), C: Forwarding()})
    assert not a.pings("fd00:b::2")
    inside.call(firewall.remove)
    assert a.pings("fd00:c::2", 2), "it was the table that kept them apart"


def test_an_exit_lets_out_to_what_it_advertises_and_masquerades_it(site: Site, inside: Inside) -> None:
    inside.call(firewall.install, {A: Forwarding(prefixes={IPv6Network("2001:db8:10::/48"): True}), B: Forwarding()})
    a, b = site.members[A], site.members[B]
    assert a.pings("2001:db8:10::1", 2), "the outside has no route to the mesh: it answers the host"
    assert not a.pings("2001:db8:11::1")
    assert not b.pings("2001:db8:10::1")
    site.outside.run("ip", "-6", "route", "add", "fd00::/16", "via", site.address)
    assert sources(site.outside, "2001:db8:10::1", a) == [site.address]
    assert not site.outside.pings("fd00:a::2"), "nobody outside begins"


def test_the_longest_prefix_decides_about_masquerading(site: Site, inside: Inside) -> None:
    prefixes = {DEFAULT: True, IPv6Network("2001:db8:10::/48"): False, IPv6Network("2001:db8:10:5::/64"): True}
    inside.call(firewall.install, {A: Forwarding(prefixes=prefixes), B: Forwarding()})
    a = site.members[A]
    assert not a.pings("2001:db8:10::1"), "nobody translates, and nobody there knows the mesh"
    site.outside.run("ip", "-6", "route", "add", "fd00::/16", "via", site.address)
    assert sources(site.outside, "2001:db8:10::1", a) == ["fd00:a::2"]
    assert sources(site.outside, "2001:db8:10:5::1", a) == [site.address]
    assert sources(site.outside, "2001:db8:11::1", a) == [site.address]
    assert site.outside.run("ping", "-c1", "-W1", "-I", "2001:db8:10::1", "fd00:a::2"), "a site begins as well"
    assert not pings_from(site.outside, "2001:db8:11::1", "fd00:a::2")
    assert not pings_from(site.outside, "2001:db8:10::1", "fd00:b::2"), "another mesh does not know the site"


def test_a_default_route_is_no_way_to_other_meshes(site: Site, inside: Inside) -> None:
    inside.call(firewall.install, {A: Forwarding(prefixes={DEFAULT: True})})
    a = site.members[A]
    assert a.pings("2001:db8:11::1", 2)
    assert not a.pings("fd00:e::1") and not a.pings("fd00:c:99::1")
    inside.call(firewall.install, {A: Forwarding(prefixes={DEFAULT: True, IPv6Network("fd00:c:99::/48"): True})})
    assert a.pings("fd00:c:99::1", 2), "a site that has such addresses, and says so"
    assert not a.pings("fd00:e::1")
    inside.call(firewall.install, {A: Forwarding(prefixes={DEFAULT: True, IPv6Network("fd00::/8"): True})})
    assert not a.pings("fd00:e::1")


def test_what_came_from_outside_is_answered_there(site: Site, inside: Inside) -> None:
    older = connected(site.outside, site.middle, source="2001:db8:11::1")
    inside.call(firewall.install, {A: Forwarding()})
    inside.call(LinuxPolicy().ensure, everything_into(A))
    assert f"dev {A}" in site.middle.run("ip", "-6", "route", "get", "2001:db8:11::1")

    # The kernel keeps a connection's route until one of its table changes.
    site.middle.run("ip", "-6", "route", "replace", "default", "via", site.address_of_outside, "mtu", "1400")
    assert older.call("from the host first"), "older than the table, and now the host has the word"
    assert older.call("and again")
    older.close()
    for source in ("2001:db8:11::1", "2001:db8:10::1"):
        assert pings_from(site.outside, source, site.address)
    later = connected(site.outside, site.middle, source="2001:db8:11::1")
    assert later.call("begun later")
    later.close()
    assert not site.middle.pings("2001:db8:11::1"), "what the host begins goes into the mesh"

    inside.call(firewall.remove)
    assert not pings_from(site.outside, "2001:db8:11::1", site.address), "it was the table"


def test_a_mark_of_others_is_kept(site: Site, inside: Inside) -> None:
    inside.call(firewall.install, {A: Forwarding()})
    other = (
        "table ip6 other { chain p { type filter hook prerouting priority -180; ct mark set 7; meta mark set 9; }; }"
    )
    watch = "table ip6 watch { chain p { type filter hook prerouting priority 0; ct mark 7 meta mark 9 counter; }; }"
    for text in (other, watch):
        site.middle.run("nft", "-f", "-", stdin=text)
    assert site.outside.pings(site.address, 2)
    assert "packets 0" not in site.middle.run("nft", "list", "table", "ip6", "watch")


def test_a_site_goes_on_through_tables_for_unmarked_packets(site: Site, inside: Inside) -> None:
    """From a prefix that is advertised as it is, through this host's mesh, to one that it accepted from there."""
    site_prefix, far = IPv6Network("2001:db8:10::/48"), IPv6Network("2001:db8:20::/48")
    a = site.members[A]
    _address(a, "2001:db8:20::1/128", A)
    site.outside.run("ip", "-6", "route", "add", str(far), "via", site.address)
    inside.call(firewall.install, {A: Forwarding(prefixes={site_prefix: False})})
    inside.call(LinuxPolicy().ensure, everything_into(A))
    site.middle.run("ip", "-6", "route", "add", str(site_prefix), "via", site.address_of_outside)
    inside.call(LinuxPolicy().ensure, everything_into(A))
    assert pings_from(site.outside, "2001:db8:10::1", "2001:db8:20::1")
    assert not pings_from(site.outside, "2001:db8:11::1", "2001:db8:20::1")


def test_what_came_by_another_mesh_than_its_answer_would_take_goes_no_further(site: Site, inside: Inside) -> None:
    far, member = IPv6Network("fd00:f::/64"), site.members[A]
    nets = {IPv6Network(f"fd00:{letter}::/64"): device for device, letter in ((A, "a"), (B, "b"), (C, "c"))}
    _address(member, "fd00:f::9/128", "lo")
    site.middle.run("ip", "-6", "route", "add", str(far), "via", "fd00:a::2")

    def leads_back_by(device: str) -> bool:
        sources = {DEFAULT: None, **nets, far: device}
        plan = {each: Forwarding(frozenset({A, B, C} - {each}), sources=sources) for each in (A, B, C)}
        inside.call(firewall.install, plan)
        return pings_from(member, "fd00:f::9", "fd00:b::2")

    assert leads_back_by(A)
    assert not leads_back_by(C)
    assert site.members[C].pings("fd00:b::2", 2), "what has its own way back passes"
    assert not pings_from(site.members[B], "fd00:b::2", "fd00:f::9"), "its answers neither"


def test_segments_fit_the_narrowest_way(site: Site, inside: Inside) -> None:
    inside.call(firewall.install, {A: Forwarding(frozenset({B})), B: Forwarding(frozenset({A}))})
    a, b = site.members[A], site.members[B]
    site.middle.run("ip", "link", "set", B, "mtu", "1300")
    connection = connected(a, b, "fd00:b::2")
    assert connection.call("segment") and int(connection.said) <= 1300 - 60
    connection.close()


def test_the_table_is_listed_alike_until_somebody_changes_it(site: Site, inside: Inside) -> None:
    assert inside.call(firewall.listing) == ""
    plan = {A: Forwarding(frozenset({B}), {DEFAULT: True, IPv6Network("2001:db8:10::/48"): False}), B: Forwarding()}
    inside.call(firewall.install, plan)
    listed = inside.call(firewall.listing)
    assert site.outside.pings(site.address)
    inside.call(firewall.install, plan)
    assert inside.call(firewall.listing) == listed
    site.middle.run("nft", "add", "rule", "inet", "smegmesh", "forward", "accept")
    assert inside.call(firewall.listing) != listed
    site.middle.run("nft", "flush", "ruleset")
    assert inside.call(firewall.listing) == ""


def everything_into(device: str) -> HostPlan:
    """A plan under which whatever has no mark goes into an interface."""
    prefixes = [DEFAULT, IPv6Network("2000::/4")]
    return HostPlan({(1001, prefix): Route(device) for prefix in prefixes}, frozenset({Rule(100, 1001, unmarked=True)}))


def pings_from(host: Host, source: str, address: str) -> bool:
    return " 0% packet loss" in host.run("ping", "-n", "-c1", "-W1", "-I", source, address, check=False)


def sources(host: Host, address: str, client: Host) -> list[str]:
    """Whom a host sees as the other end of a datagram that a client sends to an address."""
    program = f"""
        import socket
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.bind(({address!r}, {PORT})); s.settimeout(15); print("bound", flush=True)
        print(s.recvfrom(9)[1][0])
    """
    server = host.start("python3", "-c", textwrap.dedent(program))
    assert server.stdout is not None and server.stdout.readline() == "bound\n"
    send = f"socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'hello', ({address!r}, {PORT}))"
    client.run("python3", "-c", f"import socket; {send}")
    output, _ = server.communicate(timeout=20)
    return output.split()


class Connection:
    """A TCP connection; whoever accepted it speaks first, and hears what is answered."""

    def __init__(self, client: subprocess.Popen[str], server: subprocess.Popen[str]) -> None:
        self._ends = client, server
        self.said = ""

    def call(self, word: str) -> bool:
        """Have the server say something to the client and hear its answer."""
        _client, server = self._ends
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(f"{word}\n")
        server.stdin.flush()
        self.said = server.stdout.readline().strip()
        return self.said not in ("", "silence")

    def close(self) -> None:
        for end in reversed(self._ends):
            end.communicate(timeout=10)


def connected(client: Host, server: Host, address: str = "2001:db8::1", source: str = "::") -> Connection:
    """Connect two hosts. The client answers a line with the size of its segments."""
    accept = f"""
        import socket, sys
        s = socket.create_server(({address!r}, {PORT}), family=socket.AF_INET6)
        print("bound", flush=True)
        c, _ = s.accept(); c.settimeout(5); print("accepted", flush=True)
        for line in sys.stdin:
            c.sendall(line.encode())
            try: print(c.recv(99).decode().strip(), flush=True)
            except TimeoutError: print("silence", flush=True)
    """
    connect = f"""
        import socket
        s = socket.create_connection(({address!r}, {PORT}), 3, source_address=({source!r}, 0))
        s.settimeout(20)
        while s.recv(99):
            s.sendall(b"%d\\n" % s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
    """
    accepting = server.start("python3", "-c", textwrap.dedent(accept))
    assert accepting.stdout is not None and accepting.stdout.readline() == "bound\n"
    connecting = client.start("python3", "-c", textwrap.dedent(connect))
    assert accepting.stdout.readline() == "accepted\n"
    return Connection(connecting, accepting)


def _address(host: Host, address: str, device: str) -> None:
    host.run("ip", "-6", "address", "add", address, "dev", device, "nodad")
