"""Whether a UDP port is to be had: a WireGuard device that is not up takes any, and fails later."""

from __future__ import annotations

import errno
import socket


def port_refusal(port: int) -> int | None:
    """The errno with which this host refuses a UDP port, of IPv4 or IPv6; None if it is free."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                return error.errno
    return None
