"""The kernel plane beside `wg setconf`, in the emulated guest."""

from __future__ import annotations

import platform
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import peers
from section import Figure, Section, seconds

from smegmesh.dataplane.kernel import KernelPlane
from smegmesh.dataplane.plane import PeerChange

DEVICE = "smegbench"
ROUNDS = 5
SINGLE_CHANGES = 200
RATIO_BOUND, CHANGE_BOUND = 1.7, 0.005

METHOD = """\
In a guest with Debian's kernel {kernel}, its one processor emulated by QEMU: slower than real hardware,
and not in one proportion for Python and the kernel, so the two ways are compared with each other only.
{count} peers, each with an endpoint, a keepalive and two allowed IPs, go into a new interface that is
down: by `wg setconf` of a file (its start and the reading of the file included), and by the plane's
`configure` and `apply`. The two take turns {rounds} times; the medians are given. A single change gives one
peer among {count}, the interface up, other allowed IPs; median and 95th percentile of {single}."""


def measure() -> Section:
    plane = KernelPlane()
    changes = peers.changes()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(peers.configuration(peers.SETTINGS, changes))
        file.flush()
        by_tool, by_plane = side_by_side(
            plane,
            lambda: subprocess.run(["wg", "setconf", DEVICE, file.name], check=True),
            lambda: put_in(plane, changes),
        )
    with device(plane):
        put_in(plane, changes)
        subprocess.run(["ip", "link", "set", DEVICE, "up"], check=True)
        single = sorted(single_changes(plane, changes))
        dump = statistics.median(seconds(lambda: plane.dump(DEVICE)) for _ in range(ROUNDS))
        delete = seconds(lambda: plane.delete(DEVICE))
    count = f"{peers.COUNT} peers"
    return Section(
        "Peers into the kernel's WireGuard",
        METHOD.format(kernel=platform.release(), count=peers.COUNT, rounds=ROUNDS, single=SINGLE_CHANGES),
        (
            Figure(f"{count} by `wg setconf`", by_tool),
            Figure(f"{count} by the kernel plane", by_plane),
            Figure("the plane's time over that of `wg setconf`", by_plane / by_tool, "", RATIO_BOUND),
            Figure("one change, median", single[len(single) // 2], bound=CHANGE_BOUND),
            Figure("one change, 95th percentile", single[len(single) * 95 // 100]),
            Figure(f"dump of {count}", dump),
            Figure(f"delete of an interface with {count}", delete),
        ),
    )


def side_by_side(plane: KernelPlane, *ways: Callable[[], object]) -> list[float]:
    """Median seconds of each way on a new device, the ways taking turns."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, times in zip(ways, taken, strict=True):
            with device(plane):
                times.append(seconds(way))
                assert len(plane.dump(DEVICE).peers) == peers.COUNT
    return [statistics.median(times) for times in taken]


def put_in(plane: KernelPlane, changes: list[PeerChange]) -> None:
    plane.configure(DEVICE, peers.SETTINGS)
    plane.apply(DEVICE, changes)


def single_changes(plane: KernelPlane, changes: list[PeerChange]) -> Iterator[float]:
    for number in range(SINGLE_CHANGES):
        change = PeerChange(changes[number].key, add=False, allowed_ips=changes[number + 1].allowed_ips)
        yield seconds(lambda change=change: plane.apply(DEVICE, [change]))


@contextmanager
def device(plane: KernelPlane) -> Iterator[None]:
    plane.create(DEVICE)
    try:
        yield
    finally:
        plane.delete(DEVICE)
