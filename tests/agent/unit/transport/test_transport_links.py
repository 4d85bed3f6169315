"""Links between hosts over loopback, with real TLS."""

from __future__ import annotations

import asyncio

import pytest
from link_hosts import LOOPBACK, DialFailed, Down, Hosts, Operator, Run, Up, connect, raw_link

from smegmesh.transport.framing import MAX_FRAME, encode_frame
from smegmesh.transport.settings import LinkSettings


def test_two_hosts_exchange_frames(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        a_up, b_up = await connect(a, b)
        assert (a_up.mesh_id, a_up.dialled, a_up.certificate.grant.node_name) == ("prod", True, "b")
        assert (b_up.mesh_id, b_up.dialled, b_up.certificate.grant.node_name) == ("prod", False, "a")
        payloads = [b"one", b"", bytes(MAX_FRAME), b"two"]
        for payload in payloads:
            a.links.send(a_up.link, payload)
            b.links.send(b_up.link, payload[::-1])
        assert [await b.frame() for _ in payloads] == payloads
        assert [await a.frame() for _ in payloads] == [payload[::-1] for payload in payloads]

    run(test)


def test_three_hosts_link_with_each_other(run: Run, operator: Operator) -> None:
    settings = {name: operator.admit(name, ("prod",)) for name in "abc"}

    async def test(hosts: Hosts) -> None:
        a, b, c = [await hosts.make().listen(prod=tls) for tls in settings.values()]
        for dialler, acceptor in ((a, b), (b, c), (c, a)):
            ours, theirs = await connect(dialler, acceptor)
            dialler.links.send(ours.link, b"ping")
            assert await acceptor.frame() == b"ping"
            acceptor.links.send(theirs.link, b"pong")
            assert await dialler.frame() == b"pong"

    run(test)


def test_two_meshes_of_two_authorities_share_a_port(run: Run, operator: Operator, other_operator: Operator) -> None:
    a_prod, b_prod = operator.admit("a", ("prod",)), operator.admit("b", ("prod",))
    a_office, b_office = other_operator.admit("a", ("office",)), other_operator.admit("b", ("office",))

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_prod, office=a_office)
        b = await hosts.make().listen(prod=b_prod, office=b_office)
        for mesh_id, tls in (("prod", b_prod), ("office", b_office)):
            ours, theirs = await connect(a, b, mesh_id)
            assert ours.mesh_id == theirs.mesh_id == mesh_id
            assert tls.authority.verify(ours.certificate.der) == ours.certificate

    run(test)


def test_an_ipv4_dial_reaches_the_same_listener(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        a.links.dial("prod", 1, [f"127.0.0.1:{b.links.port}"])
        assert (await a.up()).dialled and not (await b.up()).dialled

    run(test)


def test_a_close_sends_what_is_queued_and_is_told_once(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        ours, theirs = await connect(a, b)
        for _ in range(20):
            a.links.send(ours.link, bytes(100_000))
        a.links.close(ours.link, "enough")
        a.links.close(ours.link, "twice")
        assert await a.down() == "enough"
        assert {len(await b.frame()) for _ in range(20)} == {100_000}
        assert await b.down() == "closed by the other side"
        b.links.close(theirs.link, "gone already")
        b.links.send(theirs.link, b"gone already")
        assert b.links.counters["frames.link_gone"] == 1
        assert a.reports.empty() and b.reports.empty()

    run(test)


def test_stop_takes_links_down_and_a_host_can_start_again(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        await connect(a, b)
        await a.links.stop()
        assert await a.down() == "stopped"
        assert await b.down() == "closed by the other side"
        await a.links.stop()
        await a.links.start(LOOPBACK, 0)
        await connect(b, a)

    run(test)


def test_stop_ends_dials_and_handshakes_in_flight(run: Run, operator: Operator, mute_port: int) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        a.links.dial("prod", 1, [f"[{LOOPBACK}]:{mute_port}"])
        _, writer = await asyncio.open_connection(LOOPBACK, a.links.port)
        await asyncio.sleep(0)
        await a.links.stop()
        assert a.reports.empty()
        writer.close()

    run(test)


def test_renewed_settings_are_for_new_links_and_keep_the_old(run: Run, operator: Operator) -> None:
    a_tls, b_tls, renewed = operator.admit("a"), operator.admit("b"), operator.admit("b", age=30)

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        before, theirs = await connect(a, b)
        b.links.set_mesh("prod", renewed)
        after, _ = await connect(a, b)
        assert after.certificate.not_before == before.certificate.not_before + 30
        b.links.send(theirs.link, b"still here")
        assert await a.frame() == b"still here"

    run(test)


def test_a_dropped_mesh_takes_its_links_and_dials_along(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_tls, office=a_tls)
        b = await hosts.make().listen(prod=b_tls, office=b_tls)
        await connect(a, b)
        office, _ = await connect(a, b, "office")
        b.dial(a, dial=5)
        b.links.drop_mesh("prod")
        assert await b.down() == "the mesh was left"
        assert await a.down() == "closed by the other side"
        a.dial(b)
        assert "the mesh is unknown there" in await a.dial_failed()
        a.links.send(office.link, b"still here")
        assert await b.frame() == b"still here"

    run(test)


def test_frames_of_one_turn_are_written_together(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_tls)
        reader, writer = await raw_link(a, b_tls)
        for number in range(50):
            a.links.send(1, b"%d" % number)
        expected = b"".join(encode_frame(b"%d" % number) for number in range(50))
        assert await reader.read(len(expected)) == expected
        writer.close()

    run(test)


def test_a_lost_connection_is_told(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_tls)
        _, writer = await raw_link(a, b_tls)
        writer.transport.abort()
        reason = await a.down()
        assert "closed" in reason or "lost" in reason

    run(test)


def test_both_hosts_may_dial_at_once(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        a.dial(b)
        b.dial(a)
        for host in (a, b):
            assert {(await host.up()).dialled, (await host.up()).dialled} == {True, False}
            assert host.reports.empty()

    run(test)


def test_a_dial_of_oneself_is_two_ends_of_a_link(run: Run, operator: Operator) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        a.dial(a)
        ends = [await a.next(), await a.next()]
        assert all(isinstance(end, Up) and end.certificate.grant.node_name == "a" for end in ends)
        assert not any(isinstance(end, DialFailed) for end in ends)

    run(test)


def test_an_idle_link_outlives_the_handshake_timeout(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")
    settings = LinkSettings(handshake_timeout=1)

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make(settings).listen(prod=a_tls), await hosts.make(settings).listen(prod=b_tls)
        ours, _ = await connect(a, b)
        stranger, writer = await asyncio.open_connection(LOOPBACK, a.links.port)
        assert await asyncio.wait_for(stranger.read(), 10) == b""  # its timeout is over, the link's would be too
        writer.close()
        a.links.send(ours.link, b"here")
        assert await b.frame() == b"here"
        assert a.links.counters["refused.handshake_timeout"] == 1

    run(test)


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_stop_at_any_moment_of_a_dial_leaves_nothing_behind(run: Run, operator: Operator, turns: int) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        a.dial(b)
        b.dial(a)
        for _ in range(turns):
            await asyncio.sleep(0)
        a.links.drop_mesh("prod")
        stopping = asyncio.ensure_future(b.links.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait([stopping])
        await b.links.stop()
        await a.links.stop()
        for host in (a, b):
            reports = [host.reports.get_nowait() for _ in range(host.reports.qsize())]
            ups = {report.link for report in reports if isinstance(report, Up)}
            assert ups == {report.link for report in reports if isinstance(report, Down)}

    run(test)
