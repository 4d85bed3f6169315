"""Whether a UDP port is to be had, asked of this host."""

from __future__ import annotations

import errno
import socket

import pytest

from smegmesh.dataplane.port import port_refusal


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_is_refused_while_somebody_has_it(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as holder:
        holder.bind((host, 0))
        port = holder.getsockname()[1]
        assert port_refusal(port) == errno.EADDRINUSE
    assert port_refusal(port) is None
