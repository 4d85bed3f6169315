"""Where a MessagePack object ends, in a stream that puts one right after the other: msgspec decodes only whole ones."""

from __future__ import annotations

#: First byte -> bytes that follow it, for what holds nothing else (the length itself of what has one comes first).
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_FIXED |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
#: First byte -> bytes of a length, and how much more than that many bytes follow.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
#: First byte -> bytes of a count, and how many objects follow for each.
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def end_of_object(data: bytes) -> int | None:
    """The offset after the first object, None if more is to come. ValueError for a byte that begins none."""
    at, objects = 0, 1
    while objects:
        if at >= len(data):
            return None
        first, objects, at = data[at], objects - 1, at + 1
        if first < 0x80 or first >= 0xE0:
            continue
        if first < 0x90:
            objects += 2 * (first & 15)
        elif first < 0xA0:
            objects += first & 15
        elif first < 0xC0:
            at += first & 31
        elif first in _FIXED:
            at += _FIXED[first]
        elif first in _SIZED:
            width, more = _SIZED[first]
            at += width + int.from_bytes(data[at : at + width], "big") + more
        elif first in _COUNTED:
            width, each = _COUNTED[first]
            objects += each * int.from_bytes(data[at : at + width], "big")
            at += width
        else:
            raise ValueError(f"byte {first:#04x} begins no MessagePack object")
    return at if at <= len(data) else None
