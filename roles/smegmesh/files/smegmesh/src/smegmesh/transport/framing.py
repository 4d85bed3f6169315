"""Frames on a link: a length of 4 bytes, big-endian, and the payload."""

from __future__ import annotations

import struct

MAX_FRAME = 1024 * 1024
_LENGTH = struct.Struct(">I")


class FrameTooLarge(Exception):
    """The other side announced a frame over the limit."""


def encode_frame(payload: bytes) -> bytes:
    """A payload with its length before it; ValueError over 1 MiB."""
    if len(payload) > MAX_FRAME:
        raise ValueError(f"a frame holds {MAX_FRAME} bytes at most, not {len(payload)}: split the message")
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Cuts a stream of bytes into frames; holds one frame and what was fed after it, no more."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self.limit = limit

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole frame's payload, None if there is none yet; FrameTooLarge from its length alone."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self.limit:
            raise FrameTooLarge(f"a frame of {length} bytes, at most {self.limit} are allowed")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return payload
