"""Dials that find nobody, and those that find somebody among the dead; sockets and their options."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from link_hosts import LOOPBACK, Hosts, Operator, Run

import smegmesh
from smegmesh.transport.dialling import parse_address
from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.sockets import ListenError, open_listener

SOURCE = os.path.dirname(os.path.dirname(smegmesh.__file__))


@pytest.fixture
def dead_port() -> int:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port whose backlog is full: connections to it get no answer."""
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(3):
            filler = socket.socket(socket.AF_INET6)
            filler.setblocking(False)
            filler.connect_ex((LOOPBACK, port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()


def test_a_dead_port(run: Run, operator: Operator, dead_port: int) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        a.links.dial("prod", 7, [f"[{LOOPBACK}]:{dead_port}", f"127.0.0.1:{dead_port}"])
        report = await a.next()
        assert (report.mesh_id, report.dial) == ("prod", 7)
        assert report.reason == f"[{LOOPBACK}]:{dead_port}: refused; 127.0.0.1:{dead_port}: refused"
        assert a.links.counters["dials.failed"] == 1

    run(test)


def test_a_dial_may_be_repeated_as_soon_as_it_failed(run: Run, operator: Operator, dead_port: int) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        a.links.dial("prod", 1, [f"[{LOOPBACK}]:{dead_port}"])
        await a.dial_failed()
        a.dial(b)
        await a.up()

    run(test)


def test_addresses_that_are_none(run: Run, operator: Operator) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        a.links.dial("prod", 1, [])
        assert await a.dial_failed() == "no address"
        a.links.dial("prod", 2, ["a1", "bad..name:4000", "[fe80::1%nowhere0]:4000"])
        assert await a.dial_failed() == (
            "a1: not an address: write host:port or [v6]:port; "
            "bad..name:4000: name not found; [fe80::1%nowhere0]:4000: name not found"
        )

    run(test)


def test_names_are_looked_up_while_all_common_threads_are_busy(run: Run, operator: Operator, dead_port: int) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        done = threading.Event()
        with ThreadPoolExecutor(1) as common:
            asyncio.get_running_loop().set_default_executor(common)
            busy = asyncio.ensure_future(asyncio.to_thread(done.wait, 20))
            try:
                a.links.dial("prod", 1, [f"localhost:{dead_port}"])
                assert "refused" in await a.dial_failed()
            finally:
                done.set()
                await busy

    run(test)


def test_a_deaf_address_times_out(run: Run, operator: Operator, deaf_port: int) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(connect_timeout=0.2)).listen(prod=tls)
        a.links.dial("prod", 1, [f"[{LOOPBACK}]:{deaf_port}"])
        assert await a.dial_failed() == f"[{LOOPBACK}]:{deaf_port}: timed out"

    run(test)


def test_a_mute_server_times_out(run: Run, operator: Operator, mute_port: int) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(handshake_timeout=0.2)).listen(prod=tls)
        a.links.dial("prod", 1, [f"[{LOOPBACK}]:{mute_port}"])
        assert "no TLS handshake within 0.2 s" in await a.dial_failed()

    run(test)


def test_dead_deaf_and_foreign_addresses_before_the_right_one(
    run: Run, operator: Operator, other_operator: Operator, dead_port: int, deaf_port: int
) -> None:
    a_tls, b_tls, foreign = operator.admit("a"), operator.admit("b"), other_operator.admit("c")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(connect_timeout=60)).listen(prod=a_tls)
        b = await hosts.make().listen(prod=b_tls)
        c = await hosts.make().listen(prod=foreign)
        start = time.monotonic()
        ports = (dead_port, deaf_port, c.links.port, b.links.port)
        a.links.dial("prod", 1, [f"localhost:{dead_port}", *(f"[{LOOPBACK}]:{port}" for port in ports)])
        assert (await a.up()).certificate.grant.node_name == "b"
        assert time.monotonic() - start < 30  # less than the deaf one's timeout
        assert a.reports.empty()

    run(test)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("a1:1", ("a1", 1)), ("198.18.0.1:4000", ("198.18.0.1", 4000)), ("[2001:db8::1]:65535", ("2001:db8::1", 65535))],
)
def test_addresses(text: str, parsed: tuple[str, int]) -> None:
    assert parse_address(text) == parsed


@pytest.mark.parametrize("text", ["", "a1", ":1", "a1:0", "a1:65536", "2001:db8::1:4000", "[::1]", "a b:1", "a:1\n"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port}/tcp: the port is in use: stop .* another link_port"):
            open_listener("::", port, LinkSettings())


def test_an_address_that_is_not_here() -> None:
    with pytest.raises(ListenError, match="no interface of this host has the address"):
        open_listener("198.18.255.254", 4000, LinkSettings())
    with pytest.raises(ListenError, match="give an IPv6 or IPv4 address"):
        open_listener("example", 4000, LinkSettings())


def test_accepted_sockets_have_the_listener_s_options() -> None:
    listener = open_listener(LOOPBACK, 0, LinkSettings(user_timeout=7))
    with listener, socket.create_connection(listener.getsockname()[:2]):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000


MARKED = """
import socket
from smegmesh.transport.sockets import open_listener, set_options
from smegmesh.transport.settings import LinkSettings
settings = LinkSettings(mark=0x736D)
listener = open_listener("::1", 0, settings)
listener.setblocking(True)
dialled = socket.socket(socket.AF_INET6)
set_options(dialled, settings)
dialled.connect(listener.getsockname())
accepted, _ = listener.accept()
print(*(hex(sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)) for sock in (listener, dialled, accepted)))
"""


def test_the_mark_is_on_all_sockets() -> None:
    inside = ["unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"']
    done = subprocess.run(
        [*inside, sys.executable, MARKED],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0x736d"] * 3


def test_a_mark_without_the_right_to_set_it_is_a_clear_error() -> None:
    program = (
        "from smegmesh.transport.sockets import *\n"
        "try: open_listener('::', 0, LinkSettings(mark=0x736d))\n"
        "except OSError as error: print(error)\n"
    )
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "may not mark sockets with 0x736d: give the agent CAP_NET_ADMIN" in done.stdout
