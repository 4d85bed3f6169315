"""Who gets no link, and that both sides learn why."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from dataclasses import replace

import pytest
from link_hosts import DAY, LOOPBACK, Hosts, Operator, Run, connect, drained, raw_context, raw_tls

from smegmesh.transport import tls
from smegmesh.transport.framing import encode_frame
from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.tls import TlsSettingsError, mesh_contexts


def test_certificate_of_another_authority(run: Run, operator: Operator, other_operator: Operator) -> None:
    ours, theirs = operator.admit("a"), other_operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=ours), await hosts.make().listen(prod=theirs)
        a.dial(b)
        assert "certificate of another authority" in await a.dial_failed()
        assert b.links.counters["refused.authority"] == 1
        assert b.reports.empty()

    run(test)


def test_a_dialler_whose_certificate_is_of_another_authority(
    run: Run, operator: Operator, other_operator: Operator
) -> None:
    ours, theirs = operator.admit("a"), other_operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=ours)
        reader, writer = await raw_tls(a, theirs)
        with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
            await reader.readexactly(1)
        writer.close()
        assert a.links.counters["refused.authority"] == 1
        assert a.reports.empty()

    run(test)


def test_what_an_enroller_dates_ahead_expires_nobody(run: Run, operator: Operator) -> None:
    ahead, fine, other = operator.enroll("web3", ahead=29 * DAY), operator.admit("b"), operator.admit("c")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=ahead), await hosts.make().listen(prod=fine)
        a.dial(b)
        assert "the certificate of 'web3' is not valid before" in await a.dial_failed()
        c = await hosts.make().listen(prod=other)
        c.dial(b)
        assert (await b.up()).certificate.name == "c"
        assert fine.clock.newest <= time.time()

    run(test)


def test_expired_certificate_of_the_dialler(run: Run, operator: Operator) -> None:
    expired, fine = operator.admit("old", age=3 * DAY, life=DAY), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=expired), await hosts.make().listen(prod=fine)
        a.dial(b)
        reason = await a.dial_failed()
        assert "refused by the other side: the certificate of 'old' is expired since" in reason
        assert b.links.counters["refused.expired"] == 1
        assert b.reports.empty()

    run(test)


def test_expired_certificate_of_the_acceptor(run: Run, operator: Operator) -> None:
    expired, fine = operator.admit("old", age=3 * DAY, life=DAY), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=fine), await hosts.make().listen(prod=expired)
        a.dial(b)
        assert "the certificate of 'old' is expired since" in await a.dial_failed()
        assert b.reports.empty()

    run(test)


def test_a_clock_years_behind_is_held_up_by_certificates(run: Run, operator: Operator) -> None:
    behind, fine = operator.admit("behind", wall=lambda: 0.0), operator.admit("b", age=10)
    expired = operator.admit("old", age=3 * DAY, life=DAY)

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=behind), await hosts.make().listen(prod=fine)
        await connect(a, b)
        assert behind.clock.now() == pytest.approx(operator.now - 10, abs=2)
        b.links.set_mesh("prod", expired)
        a.dial(b)
        assert "expired since" in await a.dial_failed()

    run(test)


def test_certificate_that_does_not_grant_the_mesh(
    run: Run, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "smegmesh.transport")
    office, prod = operator.admit("a", ("office",)), operator.admit("b", ("prod",))

    async def test(hosts: Hosts) -> None:
        b = await hosts.make().listen(prod=prod)
        reader, writer = await raw_tls(b, office)
        reason = b"the certificate of 'a' does not grant the mesh 'prod'"
        assert await drained(reader) == encode_frame(reason)
        writer.close()
        assert b.links.counters["refused.not_granted"] == 1
        assert b.reports.empty()

    run(test)
    assert caplog.messages == [
        "refused a connection from ::1 for mesh prod: the certificate of 'a' does not grant the mesh 'prod'"
    ]


def test_an_operator_is_no_node(run: Run, operator: Operator) -> None:
    node, alice = operator.admit("a"), operator.appoint("alice")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=node)
        reader, writer = await raw_tls(a, alice)
        assert b"not for TLS clients and servers, as a node's is" in await drained(reader)
        writer.close()
        assert a.links.counters["refused.certificate"] == 1
        assert a.reports.empty()

    run(test)
    with pytest.raises(TlsSettingsError, match="not for TLS clients and servers"):
        mesh_contexts("prod", alice)


def test_a_flood_of_refusals_is_counted_and_not_logged_whole(
    run: Run, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "smegmesh.transport")
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        for _ in range(60):
            reader, writer = await asyncio.open_connection(LOOPBACK, a.links.port)
            writer.write(b"nonsense")
            await drained(reader)
            writer.close()
        assert a.links.counters["refused.tls"] == 60

    run(test)
    assert 30 <= len(caplog.messages) < 60
    assert caplog.messages[0].startswith("refused a connection from ::1 for mesh unknown: ")


def test_unknown_mesh(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(office=a_tls), await hosts.make().listen(prod=b_tls)
        a.dial(b, "office")
        assert "the mesh is unknown there" in await a.dial_failed()
        assert b.links.counters["refused.mesh_unknown"] == 1
        a.dial(b, "nowhere", 2)
        assert await a.dial_failed() == "the mesh is not set up here"

    run(test)


def test_no_server_name_and_no_certificate(run: Run, operator: Operator) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await raw_tls(a, tls, server_name=None)
        reader, writer = await raw_tls(a, None)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            await reader.readexactly(1)
        writer.close()
        assert a.links.counters["refused.mesh_unknown"] == 1
        assert a.links.counters["refused.certificate"] == 1

    run(test)


def test_an_older_tls(run: Run, operator: Operator) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=tls)
        context = raw_context(tls)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            await asyncio.open_connection(LOOPBACK, a.links.port, ssl=context, server_hostname="prod")
        assert a.links.counters["refused.tls"] == 1

    run(test)


def test_sessions_are_not_resumed(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_tls)
        reader, writer = await raw_tls(a, b_tls)
        await reader.readexactly(4)
        assert not writer.get_extra_info("ssl_object").session.has_ticket
        writer.close()

    run(test)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\x16\x03\x01\xff\xff" + b"x" * 70000])
def test_garbage_before_tls(run: Run, operator: Operator, garbage: bytes) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        reader, writer = await asyncio.open_connection(LOOPBACK, a.links.port)
        writer.write(garbage)
        await drained(reader)
        writer.close()
        assert a.links.counters["refused.tls"] == 1
        await connect(b, a)

    run(test)


def test_a_server_that_does_not_speak_tls(run: Run, operator: Operator) -> None:
    tls = operator.admit("a")

    async def test(hosts: Hosts) -> None:
        def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example.org ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(answer, LOOPBACK, 0)
        a = await hosts.make().listen(prod=tls)
        a.links.dial("prod", 1, [f"[{LOOPBACK}]:{server.sockets[0].getsockname()[1]}"])
        assert "does not speak TLS" in await a.dial_failed()
        server.close()

    run(test)


def test_a_refusal_from_outside_is_shown_without_control_characters(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(b_tls.certificate_file, b_tls.key_file)

        def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode_frame(b"no \x1b[31m\n\xff"))

        server = await asyncio.start_server(refuse, LOOPBACK, 0, ssl=context)
        a = await hosts.make().listen(prod=a_tls)
        a.links.dial("prod", 1, [f"[{LOOPBACK}]:{server.sockets[0].getsockname()[1]}"])
        assert (await a.dial_failed()).endswith("refused by the other side: no ?[31m?\ufffd")
        server.close()

    run(test)


def test_idle_connections_make_room_for_links(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(max_pending=2)).listen(prod=a_tls)
        b = await hosts.make().listen(prod=b_tls)
        idle = [await asyncio.open_connection(LOOPBACK, a.links.port) for _ in range(3)]
        assert await drained(idle[0][0]) == b""
        await connect(b, a)
        assert await drained(idle[1][0]) == b""
        assert a.links.counters["refused.busy"] == 2
        await connect(a, b)
        for _, writer in idle:
            writer.close()

    run(test)


def test_time_is_checked_at_the_handshake_alone(run: Run, operator: Operator) -> None:
    now = [time.time()]
    a_tls, b_tls = operator.admit("a", wall=lambda: now[0]), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        up, _ = await connect(a, b)
        now[0] += 2 * DAY
        a.links.send(up.link, b"the link goes on")
        assert await b.frame() == b"the link goes on"
        b.dial(a)
        assert "the certificate of 'b' is expired since" in await b.dial_failed()

    run(test)


def test_a_file_that_goes_while_it_is_read_is_named(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator.admit("a")
    check_own = tls._check_own_certificate

    def check_and_lose(mesh_id: str, found: tls.MeshTls) -> None:
        check_own(mesh_id, found)
        found.key_file.unlink()

    monkeypatch.setattr(tls, "_check_own_certificate", check_and_lose)
    with pytest.raises(TlsSettingsError, match=f"cannot read .* or {settings.key_file}: No such file"):
        mesh_contexts("prod", settings)


def test_settings_that_cannot_work_are_refused_by_name(operator: Operator, other_operator: Operator) -> None:
    tls, other = operator.admit("a", ("prod",)), other_operator.admit("a")

    def refused(mesh_id: str = "prod", **changes: object) -> str:
        with pytest.raises(TlsSettingsError) as caught:
            mesh_contexts(mesh_id, replace(tls, **changes))
        return str(caught.value)

    assert f"{other.certificate_file}: the certificate is of another authority" in refused(
        certificate_file=other.certificate_file
    )
    assert "does not belong to the certificate" in refused(key_file=other.key_file)
    assert "does not grant this mesh" in refused("office")
    missing = tls.key_file.parent / "missing"
    assert f"cannot read {missing}" in refused(key_file=missing)
    assert f"cannot read {missing}" in refused(certificate_file=missing)
    assert "not an unencrypted private key" in refused(key_file=tls.certificate_file)
    assert "not a certificate in PEM" in refused(certificate_file=tls.key_file)
