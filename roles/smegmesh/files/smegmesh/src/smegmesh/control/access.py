"""Who is at the other end of a Unix socket, and what they may do."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

_SO_PEERGROUPS = 59  # asm-generic/socket.h, Linux 4.13; the socket module does not name it
_MAX_GROUPS = 256  # what socket.getsockopt has room for


@dataclass(frozen=True, slots=True)
class Credentials:
    """A process as it was when it connected."""

    uid: int
    groups: frozenset[int]


def peer_credentials(connection: socket.socket) -> Credentials:
    """Who connected; the kernel vouches for it. Groups are the primary and the supplementary ones."""
    _pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MAX_GROUPS)
    except OSError:
        raw = b""  # in more groups than that, or a sandbox without it: the primary group alone counts
    supplementary = struct.unpack(f"{len(raw) // 4}I", raw)
    return Credentials(uid, frozenset((gid, *supplementary)))


def may_change(credentials: Credentials, group: int) -> bool:
    """Root, the agent's own user and members of the agent's group may change things."""
    return credentials.uid in (0, os.geteuid()) or group in credentials.groups
