"""What is tried on the network: bounded in time, and told why where nobody answers."""

from __future__ import annotations

import socket
import threading
import time

from smegmesh.cli.probing import link, run_all, udp


def test_who_does_not_answer_in_time_is_left_out() -> None:
    never = threading.Event()
    start = time.monotonic()
    done = run_all({"quick": lambda: True, "slow": never.wait}, 0.2)
    assert done == {"quick": True}
    assert time.monotonic() - start < 2
    never.set()


def test_ports_that_are_open_or_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert link(f"127.0.0.1:{port}") == ""
    assert link(f"127.0.0.1:{port}") == "refused"
    assert link("nobody.invalid:4000") == "the name is unknown"


def test_datagrams_are_refused_only_where_somebody_says_so() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as silent:
        silent.bind(("::1", 0))
        port = silent.getsockname()[1]
        assert udp(f"[::1]:{port}") == ""
    assert udp(f"[::1]:{port}") == "refused"
