"""What one neighbour can cost: frames too large, floods, a reader that does not read."""

from __future__ import annotations

import struct

import pytest
from link_hosts import Hosts, Operator, Run, connect, drained, raw_link, raw_tls

from smegmesh.transport.bucket import TokenBucket
from smegmesh.transport.framing import MAX_FRAME, FrameDecoder, FrameTooLarge, encode_frame
from smegmesh.transport.settings import LinkSettings


def test_an_oversize_frame_closes_its_link_alone(run: Run, operator: Operator) -> None:
    a_tls, b_tls, c_tls = (operator.admit(name) for name in "abc")

    async def test(hosts: Hosts) -> None:
        a, b = await hosts.make().listen(prod=a_tls), await hosts.make().listen(prod=b_tls)
        good, _ = await connect(b, a)
        reader, writer = await raw_link(a, c_tls)
        writer.write(struct.pack(">I", MAX_FRAME + 1))
        assert f"a frame of {MAX_FRAME + 1} bytes" in await a.down()
        await drained(reader)
        writer.close()
        assert a.links.counters["frames.oversize"] == 1
        b.links.send(good.link, b"still here")
        assert await a.frame() == b"still here"

    run(test)


def test_a_verdict_too_long_is_no_link(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_tls)
        reader, writer = await raw_tls(a, b_tls)
        writer.write(encode_frame(bytes(2000)))
        await drained(reader)
        writer.close()
        assert a.links.counters["refused.oversize"] == 1
        assert a.reports.empty()

    run(test)


def test_a_reader_that_does_not_read_is_closed(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(slow_after=0.2)).listen(prod=a_tls)
        _, writer = await raw_link(a, b_tls)
        for _ in range(24):
            a.links.send(1, bytes(MAX_FRAME))
        assert await a.down() == "slow"
        assert a.links.counters["links.slow"] == 1
        writer.close()

    run(test)


def test_the_send_buffer_is_bounded(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(send_limit=MAX_FRAME)).listen(prod=a_tls)
        _, writer = await raw_link(a, b_tls)
        a.links.send(1, bytes(MAX_FRAME - 100))
        a.links.send(1, bytes(100))
        assert await a.down() == "slow"
        writer.close()

    run(test)


def test_over_the_rate_frames_are_late_not_lost(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make().listen(prod=a_tls)
        b = await hosts.make(LinkSettings(frame_rate=500, frame_burst=10)).listen(prod=b_tls)
        up, _ = await connect(a, b)
        frames = [b"%d" % number for number in range(60)]
        for frame in frames:
            a.links.send(up.link, frame)
        a.links.close(up.link, "all sent")
        assert [await b.frame() for _ in frames] == frames
        assert await b.down() == "closed by the other side"
        assert b.links.counters["links.throttled"] > 0

    run(test)


def test_a_flood_stops_at_the_sender(run: Run, operator: Operator) -> None:
    a_tls, b_tls = operator.admit("a"), operator.admit("b")

    async def test(hosts: Hosts) -> None:
        a = await hosts.make(LinkSettings(slow_after=0.2)).listen(prod=a_tls)
        b = await hosts.make(LinkSettings(byte_rate=1000, byte_burst=1000)).listen(prod=b_tls)
        up, _ = await connect(a, b)
        for _ in range(24):
            a.links.send(up.link, bytes(MAX_FRAME))
        assert await a.down() == "slow"
        assert b.reports.qsize() <= 1

    run(test)


def test_frames_are_cut_wherever_the_bytes_are() -> None:
    payloads = [b"", b"a", bytes(1000)]
    stream = b"".join(encode_frame(payload) for payload in payloads)
    for step in (1, 3, len(stream)):
        decoder = FrameDecoder()
        found = []
        for start in range(0, len(stream), step):
            decoder.feed(stream[start : start + step])
            while (payload := decoder.next()) is not None:
                found.append(payload)
        assert found == payloads


def test_frames_over_the_limit_are_refused_on_both_ends() -> None:
    with pytest.raises(ValueError, match="split the message"):
        encode_frame(bytes(MAX_FRAME + 1))
    decoder = FrameDecoder(limit=3)
    decoder.feed(encode_frame(b"1234")[:4])
    with pytest.raises(FrameTooLarge, match="4 bytes, at most 3"):
        decoder.next()


def test_token_bucket() -> None:
    bucket = TokenBucket(rate=10, burst=20, now=100)
    assert bucket.take(20, 100) == 0
    assert bucket.take(5, 100) == 0.5
    assert bucket.take(0, 100.5) == 0
    assert bucket.take(0, 99) == 0  # a clock that goes back gives and takes nothing
    assert bucket.take(1, 1000) == 0
    assert bucket.take(100, 1000) == pytest.approx(8.1)
