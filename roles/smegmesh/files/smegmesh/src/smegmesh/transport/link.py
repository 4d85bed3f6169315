"""A link: one TLS connection between two agents, carrying frames.

After the TLS handshake each side checks the other's certificate and sends its
verdict as the first frame: empty for accepted, else the reason in words. The
link is up when both accepted, so that neither takes for a link what the other
refuses, and the refused one can say why.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

from smegmesh.identity.certificate import NodeCertificate
from smegmesh.transport.bucket import TokenBucket
from smegmesh.transport.framing import MAX_FRAME, FrameDecoder, FrameTooLarge, encode_frame
from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.tls import MeshContext, PeerRefused, TlsSession, check_peer, explain

_MAX_VERDICT = 1024
_WRITE_HIGH_WATER = 256 * 1024


class _State(Enum):
    HANDSHAKE = "handshake"
    VERDICT = "verdict"
    UP = "up"
    CLOSED = "closed"


class LinkOwner(Protocol):
    """Whom a link reports to.

    `link_made` first, which may refuse it; then `link_up` and later `link_down`,
    or `link_failed` alone; `link_lost` last.
    """

    def link_made(self, link: Link) -> bool: ...
    def link_up(self, link: Link, certificate: NodeCertificate) -> None: ...
    def link_frame(self, link: Link, payload: bytes) -> None: ...
    def link_down(self, link: Link, reason: str) -> None: ...
    def link_failed(self, link: Link, kind: str, reason: str) -> None: ...
    def link_lost(self, link: Link) -> None: ...
    def count(self, name: str) -> None: ...


class Link(asyncio.Protocol):
    """One connection. `number` names it outside, `dialled` says who began it."""

    def __init__(
        self,
        owner: LinkOwner,
        number: int,
        session: TlsSession,
        *,
        dialled: bool,
        settings: LinkSettings,
        monotonic: Callable[[], float],
    ) -> None:
        self.number = number
        self.dialled = dialled
        self.remote = ""  # the other side's IP address
        self._certificate: NodeCertificate | None = None
        self._owner = owner
        self._session = session
        self._settings = settings
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._state = _State.HANDSHAKE
        self._decoder = FrameDecoder(_MAX_VERDICT)
        self._bytes = TokenBucket(settings.byte_rate, settings.byte_burst, monotonic())
        self._frames = TokenBucket(settings.frame_rate, settings.frame_burst, monotonic())
        self._reading_paused = False
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._writing_paused = False
        self._flush_scheduled = False
        # One timer at a time has a meaning in each state: the handshake's end, a full send buffer, the linger.
        self._timer: asyncio.TimerHandle | None = None
        self._resume_timer: asyncio.TimerHandle | None = None

    @property
    def mesh_id(self) -> str:
        """Empty until the other side has said it."""
        return self._session.mesh_id

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        self.remote = str((self._transport.get_extra_info("peername") or ("?",))[0])
        if not self._owner.link_made(self):
            self._state = _State.CLOSED
            self._transport.abort()
            return
        self._set_timer(self._settings.handshake_timeout, self._handshake_late)
        if self.dialled:
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        if self._state is _State.CLOSED:
            return
        try:
            plain = self._session.feed(data)
            if self._state is _State.HANDSHAKE and self._session.established:
                self._check_peer()
        except ssl.SSLError as error:
            self._end(*explain(error))
            return
        except PeerRefused as refusal:
            self._session.encrypt(encode_frame(str(refusal).encode()[:_MAX_VERDICT]))
            self._end(refusal.kind, str(refusal))
            return
        self._write_session()
        self._decoder.feed(plain)
        self._process()

    def eof_received(self) -> None:
        self._end("closed", "closed by the other side")

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("lost", f"connection lost ({exc})" if exc else "closed by the other side")
        self._cancel_timers()
        self._transport = None
        self._owner.link_lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._state is _State.UP:
            self._set_timer(self._settings.slow_after, self._slow)

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._state is _State.UP:
            self._cancel_timer()
            self._flush()

    # What the owner calls

    def send(self, payload: bytes) -> None:
        """Queue a frame; those of one turn of the event loop are written together."""
        if self._state is not _State.UP or self._transport is None:
            return
        frame = encode_frame(payload)
        self._queue.append(frame)
        self._queued += len(frame)
        if self._queued + self._transport.get_write_buffer_size() > self._settings.send_limit:
            self._slow()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def close(self, reason: str) -> None:
        """Send what is queued, then end the connection; `down` or `failed` follows, never from within this call."""
        self._end("closed", reason)

    def abort(self, kind: str, reason: str) -> None:
        """End the connection without waiting for anything to be sent."""
        self._finish(kind, reason)
        if self._transport is not None:
            self._transport.abort()

    # Coming up

    def _check_peer(self) -> None:
        context = cast(MeshContext, self._session.context)
        self._certificate = check_peer(context, self._session.peer_certificate())
        self._state = _State.VERDICT
        self._session.encrypt(encode_frame(b""))

    def _read_verdict(self, certificate: NodeCertificate, verdict: bytes) -> None:
        if verdict:
            text = "".join(c if c.isprintable() else "?" for c in verdict.decode("utf-8", "replace"))
            self._end("refused_there", f"refused by the other side: {text}")
            return
        self._decoder.limit = MAX_FRAME
        self._state = _State.UP
        self._cancel_timers()
        self._owner.link_up(self, certificate)

    def _handshake_late(self) -> None:
        self.abort("handshake_timeout", f"no TLS handshake within {self._settings.handshake_timeout:g} s")

    # Frames in

    def _process(self) -> None:
        try:
            while not self._reading_paused and (payload := self._decoder.next()) is not None:
                if self._state is _State.VERDICT and self._certificate is not None:
                    self._read_verdict(self._certificate, payload)
                elif self._state is _State.UP:
                    self._limit(len(payload))
                    self._owner.link_frame(self, payload)
        except FrameTooLarge as error:
            self._owner.count("frames.oversize")
            self.abort("oversize", str(error))
        if self._session.ended and not self._reading_paused:
            self._end("closed", "closed by the other side")

    def _limit(self, size: int) -> None:
        now = self._monotonic()
        wait = max(self._bytes.take(size, now), self._frames.take(1, now))
        if wait > 0 and self._transport is not None:
            self._owner.count("links.throttled")
            self._reading_paused = True
            self._transport.pause_reading()
            self._resume_timer = self._loop.call_later(wait, self._resume_reading)

    def _resume_reading(self) -> None:
        self._reading_paused = False
        self._process()
        if not self._reading_paused and self._state is _State.UP and self._transport is not None:
            self._transport.resume_reading()

    # Frames out

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._queue and not self._writing_paused and self._state is _State.UP:
            self._write_batch()

    def _write_batch(self) -> None:
        """Write queued frames together, no more at once than makes the transport say that it is full."""
        batch = bytearray()
        while self._queue and len(batch) < _WRITE_HIGH_WATER:
            batch += self._queue.popleft()
        self._queued -= len(batch)
        self._session.encrypt(batch)
        self._write_session()

    def _write_session(self) -> None:
        data = self._session.take()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _slow(self) -> None:
        self._owner.count("links.slow")
        self.abort("slow", "slow")

    # Going down

    def _end(self, kind: str, reason: str) -> None:
        """Finish, and end the connection so that the other side can read our last bytes (an alert, a reason)."""
        if self._state is _State.CLOSED or self._transport is None:
            return
        while self._queue:
            self._write_batch()
        self._finish(kind, reason)
        self._session.end()
        self._write_session()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._transport.is_closing():
            return
        try:
            self._transport.write_eof()
        except OSError:  # the other side has reset the connection, and asyncio not yet noticed
            self._transport.abort()
        else:
            self._set_timer(self._settings.linger, self._transport.abort)

    def _finish(self, kind: str, reason: str) -> None:
        if self._state is _State.CLOSED:
            return
        was_up = self._state is _State.UP
        self._state = _State.CLOSED
        self._cancel_timers()
        self._queue.clear()
        self._queued = 0
        if was_up:
            self._loop.call_soon(self._owner.link_down, self, reason)
        else:
            self._loop.call_soon(self._owner.link_failed, self, kind, reason)

    def _set_timer(self, delay: float, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay, callback)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_timers(self) -> None:
        self._cancel_timer()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
            self._resume_timer = None
