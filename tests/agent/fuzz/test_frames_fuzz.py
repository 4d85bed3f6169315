"""Mutated frames into a live engine: no exception, bounded memory, the good link unaffected.

FUZZ_SECONDS bounds the wall clock (default 10), FUZZ_SEED the mutations.
"""

from __future__ import annotations

import os
import resource
import time
from random import Random

import pytest

from smegmesh.gossip.codec import Hello, decode
from smegmesh.gossip.view import Liveness
from smegmesh.simulation.credentials import credentials
from smegmesh.simulation.mesh import Simulation

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
_SEED = int(os.environ.get("FUZZ_SEED", "1"))
_BAD_LINK = 1_000_000


def _corpus() -> list[bytes]:
    """Frames of every kind, from a mesh that starts, loses a host, gets it back and loses a member."""
    simulation = Simulation(_SEED, 9, 1)
    frames: dict[bytes, None] = {}
    simulation.frames.append(lambda source, target, frame: frames.setdefault(frame))
    simulation.start()
    simulation.run_for(5)
    simulation.kill_host("p4")
    simulation.run_for(5)
    simulation.lose_disk("p4")
    simulation.start("p4")
    simulation.run_for(5)
    simulation.call("p3", "announce_restart")
    simulation.call("p3", "leave")
    simulation.run_for(5)
    return list(frames)


def _mutate(random: Random, corpus: list[bytes]) -> bytes:
    frame = bytearray(random.choice(corpus))
    for _ in range(random.choice((0, 1, 1, 2, 8))):
        at = random.randrange(len(frame) + 1)
        how = random.randrange(5)
        if how == 0:
            frame[at:at] = random.randbytes(random.randrange(1, 9))
        elif how == 1:
            del frame[at : at + random.randrange(1, 9)]
        elif how == 2 and at < len(frame):
            frame[at] = random.choice((0, 0x7F, 0x80, 0xC0, 0xDC, 0xDD, 0xDF, 0xFF))
        elif how == 3 and at < len(frame):
            frame[at] ^= 1 << random.randrange(8)
        else:
            other = random.choice(corpus)
            frame[at:] = other[random.randrange(len(other) + 1) :]
    return bytes(frame)


def _peak_memory() -> int:
    """Of this process, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.timeout(_SECONDS + 120)
def test_mutated_frames() -> None:
    corpus = _corpus()
    hellos = [frame for frame in corpus if isinstance(decode(frame), Hello)]
    random = Random(_SEED)
    simulation = Simulation(_SEED, 3, bad_frames=200)
    simulation.start()
    simulation.run_for(10)
    target = simulation.nodes["p0"]
    engine = simulation.engine("p0")
    stranger = credentials("p4").certificate
    end = time.monotonic() + _SECONDS
    rounds = 0
    memory = _peak_memory()
    while time.monotonic() < end or rounds < 20:
        rounds += 1
        link = _BAD_LINK + rounds
        simulation.call("p0", "link_up", link, stranger, False)
        hello = random.choice(hellos)
        for frame in (hello, *(_mutate(random, corpus) for _ in range(300))):
            simulation.call("p0", "receive", link, frame)
            if link not in engine.links():
                break
        simulation.call("p0", "link_down", link)
        simulation.run_for(1)
    assert engine.counters["bad_frames"] > 0
    assert _peak_memory() - memory < 64 * 1024
    simulation.run_for(30)
    assert all(simulation.liveness(name) == {Liveness.ALIVE} for name in ("p0", "p1", "p2"))
    assert len({simulation.view(name).digest for name in simulation.nodes}) == 1
    assert simulation.key("p1") in engine.links().values()
    assert len(engine.view().members) <= 10
    assert not target.alarms
