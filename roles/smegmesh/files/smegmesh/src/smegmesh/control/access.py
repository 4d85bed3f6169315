"""Who is at the other end of a Unix socket, and what they may do.

A socket that is forwarded to a port, as `ssh -L` does, is within reach of every page that a browser there shows.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

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


def is_public_name(host: str) -> bool:
    """Whether a Host header has a name that anybody may have given to this machine's address.

    A page of such a name would be taken by a browser for one of this agent's (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return True
    try:
        ip_address(name)
    except ValueError:
        return "." in name.removesuffix(".localhost")
    return False


def is_browser(headers: Mapping[str, str]) -> bool:
    """Whether a request that would change something comes from a page: every browser says from which one."""
    return "Origin" in headers
