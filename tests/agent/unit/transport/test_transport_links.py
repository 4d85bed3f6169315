"""Links between hosts over loopback, with real TLS."""

from __future__ import annotations

from link_hosts import Hosts, Operator, Run, connect


def test_two_hosts_exchange_frames(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        a_up, b_up = await connect(a, b)
        assert (a_up.mesh_id, a_up.dialled, a_up.certificate.grant.node_name) == ("prod", True, "b")
        assert (b_up.mesh_id, b_up.dialled, b_up.certificate.grant.node_name) == ("prod", False, "a")
        payloads = [b"one", b"", bytes(1024 * 1024), b"two"]
        for payload in payloads:
            a.links.send(a_up.link, payload)
            b.links.send(b_up.link, payload[::-1])
        assert [await b.frame() for _ in payloads] == payloads
        assert [await a.frame() for _ in payloads] == [payload[::-1] for payload in payloads]
        a.links.close(a_up.link, "enough")
        a.links.close(a_up.link, "twice")
        assert await a.down() == "enough"
        assert await b.down() == "closed by the other side"
        b.links.close(b_up.link, "gone already")
        b.links.send(b_up.link, b"gone already")
        assert b.links.counters["frames.link_gone"] == 1
        assert a.reports.empty() and b.reports.empty()

    run(test)
