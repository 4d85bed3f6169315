"""Network namespaces as hosts: a bridge between them, commands inside them, all gone at the end.

A host has an own /run/wireguard, which network namespaces otherwise share, and a writable
/proc/sys of its own namespace. The underlay is 198.18.0.0/15 and 2001:db8::/32; a router has a private net behind it.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address
from pathlib import Path

TIMEOUT = 20.0


class Host:
    """One namespace. `underlay` is its IPv4 address on the bridge of namespace `switch`, on interface `eth0`; on the
    lab's bridge it has `underlay6`, too."""

    def __init__(self, name: str, namespace: str, underlay: str, run_directory: Path, switch: str) -> None:
        self.name = name
        self.namespace = namespace
        self.underlay = underlay
        self.underlay6 = ""
        self.switch = switch
        self._run_directory = run_directory
        self._started: list[subprocess.Popen[str]] = []

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command line that runs something in this host, for a caller who starts it himself."""
        inside = 'mount --bind "$0" /run/wireguard && exec "$@"'
        return [
            "ip",
            "netns",
            "exec",
            self.namespace,
            "sh",
            "-c",
            inside,
            str(self._run_directory),
            *arguments,
        ]

    def run(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run a command to its end; its output. With `check`, a failure fails the test."""
        done = subprocess.run(
            self.command(arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command; whoever starts it ends it, or else the lab."""
        started = subprocess.Popen(
            self.command(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(started)
        return started

    def end_all(self) -> None:
        """End what was started and still runs."""
        for started in self._started:
            started.kill()
            for pipe in (started.stdin, started.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            started.wait()

    def pids(self, program: str) -> list[str]:
        """Of the processes in this host that run a program."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True)
        return [pid for pid in listed.stdout.split() if Path(f"/proc/{pid}/comm").read_text().strip() == program]

    def pings(self, address: object, count: int = 1) -> bool:
        """Does an address answer at least once, within a second of the last echo?"""
        done = subprocess.run(
            self.command(
                [
                    "ping",
                    "-n",
                    "-q",
                    "-c",
                    str(count),
                    "-i",
                    "0.2",
                    "-W",
                    "1",
                    str(address),
                ]
            ),
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode == 0


class Router:
    """A host that masquerades for a private net, 198.18.128.0/24, on a bridge of its own. IPv4 only, as most are."""

    LAN = "198.18.128"

    def __init__(self, host: Host) -> None:
        self.host = host
        self.outside = host.underlay
        _ip("-n", host.namespace, "link", "add", "bridge", "type", "bridge")
        _ip("-n", host.namespace, "link", "set", "bridge", "up")
        _ip("-n", host.namespace, "address", "add", f"{self.LAN}.254/24", "dev", "bridge")
        host.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self.masquerade()

    def masquerade(self, ports: str = "", inwards: Host | None = None) -> None:
        """From now on; with a range of outer ports, or with those of an agent led on to a host of the private net."""
        rule = f'oifname "eth0" meta l4proto {{ tcp, udp }} masquerade {f"to :{ports}" if ports else ""}'
        lead = 'iifname "eth0" meta l4proto { tcp, udp } th dport { 4000, 51820 } dnat to '
        text = f"""
            table ip nat
            delete table ip nat
            table ip nat {{
                chain out {{ type nat hook postrouting priority srcnat; {rule}; }}
                chain in {{ type nat hook prerouting priority dstnat; {lead + inwards.underlay if inwards else ""}; }}
            }}
        """
        self.host.run("nft", "-f", "-", stdin=text)

    def move(self, outside: str) -> None:
        """Another outer address, or the same anew: the mappings of the one before are forgotten with it.

        What still comes for that one is dropped, as if it had gone astray: neighbours remember where it was.
        """
        drop = f"ip daddr {self.outside} drop" if outside != self.outside else ""
        chain = f"chain astray {{ type filter hook prerouting priority raw; {drop}; }}"
        text = f"table ip astray\ndelete table ip astray\ntable ip astray {{\n{chain}\n}}"
        self.host.run("nft", "-f", "-", stdin=text)
        _ip("-n", self.host.namespace, "address", "delete", f"{self.outside}/15", "dev", "eth0")
        _ip("-n", self.host.namespace, "address", "add", f"{outside}/15", "dev", "eth0")
        self.outside = outside


class Lab:
    """Namespaces on one bridge, which is in a namespace of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._label = f"smeg{os.getpid()}"
        self._switch = f"{self._label}-switch"
        self.hosts: list[Host] = []
        self._lans: set[str] = set()
        Path("/run/wireguard").mkdir(exist_ok=True)
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")

    def host(self, name: str) -> Host:
        """A new host on the bridge, as 198.18.0.N and 2001:db8::N."""
        number = len(self.hosts) + 1
        host = self._host(name, f"198.18.0.{number}", 15, self._switch)
        host.underlay6 = f"2001:db8::{number:x}"
        _ip("-n", host.namespace, "address", "add", f"{host.underlay6}/64", "dev", "eth0", "nodad")
        return host

    def router(self, name: str) -> Router:
        """A new host on the bridge with a private net behind it."""
        return Router(self.host(name))

    def inside(self, router: Router, name: str) -> Host:
        """A new host in the private net of a router, as 198.18.128.N."""
        host = self._host(name, f"{router.LAN}.{len(self.hosts) + 1}", 24, router.host.namespace)
        _ip("-n", host.namespace, "route", "add", "default", "via", f"{router.LAN}.254")
        return host

    def _host(self, name: str, underlay: str, length: int, switch: str) -> Host:
        namespace = f"{self._label}-{name}"
        run_directory = self._directory / name
        run_directory.mkdir()
        host = Host(name, namespace, underlay, run_directory, switch)
        self.hosts.append(host)
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip(
            "link",
            "add",
            "eth0",
            "netns",
            namespace,
            "type",
            "veth",
            "peer",
            "name",
            name,
            "netns",
            switch,
        )
        _ip("-n", switch, "link", "set", "dev", name, "master", "bridge", "up")
        _ip("-n", namespace, "address", "add", f"{host.underlay}/{length}", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return host

    def join(self, one: Host, other: Host, device: str) -> None:
        """A direct cable between two hosts, `device` at both ends."""
        _ip(
            "link",
            "add",
            device,
            "netns",
            one.namespace,
            "type",
            "veth",
            "peer",
            device,
            "netns",
            other.namespace,
        )
        for host in (one, other):
            _ip("-n", host.namespace, "link", "set", "dev", device, "up")

    def lan(self, host: Host, device: str, *addresses: str) -> None:
        """A cable from a host to the network `device`, which is made with its first one; and addresses there."""
        bridge, port = f"lan-{device}", f"{host.name}-{device}"
        if bridge not in self._lans:
            self._lans.add(bridge)
            _ip("-n", self._switch, "link", "add", bridge, "type", "bridge")
            _ip("-n", self._switch, "link", "set", bridge, "up")
        ends = ("type", "veth", "peer", "name", port, "netns", self._switch)
        _ip("link", "add", device, "netns", host.namespace, *ends)
        _ip("-n", self._switch, "link", "set", "dev", port, "master", bridge, "up")
        for address in addresses:
            _ip("-n", host.namespace, "address", "add", address, "dev", device, "nodad")
        _ip("-n", host.namespace, "link", "set", device, "up")

    def plug(self, host: Host, *, in_: bool) -> None:
        """Pull a host's cable out, or put it back in."""
        _ip("-n", host.switch, "link", "set", "dev", host.name, "up" if in_ else "down")

    def close(self) -> None:
        """End whatever runs in the namespaces and delete them."""
        for host in self.hosts:
            host.end_all()
        for namespace in [*(host.namespace for host in self.hosts), self._switch]:
            listed = subprocess.run(
                ["ip", "netns", "pids", namespace],
                capture_output=True,
                text=True,
                check=False,
            )
            for pid in listed.stdout.split():
                subprocess.run(["kill", "-9", pid], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


@contextmanager
def lab() -> Iterator[Lab]:
    """A lab that is gone afterwards, whatever happens in between."""
    directory = Path(tempfile.mkdtemp(prefix="smegmesh-netns-"))
    opened = None
    try:
        opened = Lab(directory)
        yield opened
    finally:
        if opened is not None:
            opened.close()
        shutil.rmtree(directory)


def advertise_router(router: Host, device: str, prefix: str, *, addresses: bool = True) -> None:
    """Send one router advertisement (RFC 4861, 4.2) with the /64 of a prefix (4.6.2), to make addresses of or not."""
    flags = 0xC0 if addresses else 0x80
    announced = struct.pack("!BBBBIII", 3, 4, 64, flags, 3600, 3600, 0) + IPv6Address(prefix).packed
    packet = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + announced
    router.run(
        "python3",
        "-c",
        "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6); "
        "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255); "
        f"s.sendto(bytes.fromhex('{packet.hex()}'), ('ff02::1', 0, 0, socket.if_nametoindex('{device}')))",
    )


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr}")
