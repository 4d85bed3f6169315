"""Limits and times of links."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Times in seconds, sizes in bytes.

    The rates let a whole mesh of 65 536 members through in half a minute and
    keep a flooding neighbour from taking the event loop for itself: over them
    its link is read more slowly. `send_limit` is far above what an exchange of
    digests sends at once.
    """

    mark: int = 0  # fwmark of the agent's sockets, 0 for none
    byte_rate: float = 4 * 1024 * 1024
    byte_burst: float = 16 * 1024 * 1024
    frame_rate: float = 2000
    frame_burst: float = 8000
    send_limit: int = 32 * 1024 * 1024
    slow_after: float = 15.0  # a link whose send buffer stays full for so long is closed
    user_timeout: float = 20.0  # TCP_USER_TIMEOUT: sent data unacknowledged for so long
    connect_timeout: float = 3.0  # for each address
    stagger: float = 0.25  # RFC 8305, section 8: connection attempt delay
    handshake_timeout: float = 5.0  # TLS and both sides' acceptance
    linger: float = 2.0  # for the other side to read our last bytes
    max_pending: int = 128  # accepted connections that are no links yet
