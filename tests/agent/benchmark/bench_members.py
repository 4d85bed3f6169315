"""An agent that knows a mesh of three thousand, left alone: what it holds and what it does."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agent_host import python
from section import Figure, Section
from settled_agent import START, SURPLUS, settled_agent
from usage import idle

MEMBERS = 3000
IDLE = 60.0
MEMORY_BOUND, PROCESSOR_BOUND = 96.0, 1.0  # MB, percent of a processor

MEGABYTE = 1e6

#: Imports what an agent has loaded that was asked through its API, and says its own resident memory.
FLOOR = """
import smegmesh.daemon.__main__, smegmesh.control.routes, jsonschema, yaml
import os, sys
sys.path.append({directory!r})
import usage
print(usage.memory(os.getpid()).resident)
"""

METHOD = f"""\
A smegd as it runs on a host (links over TLS, API, names by DNS, database), but with WireGuard's state in memory
(`plane: memory`), in a network namespace that has nothing but a loopback. It has met a mesh of {MEMBERS} peers in an
earlier run: its database holds what each of them signed, under a certificate of its own. Of them those run that an
agent in a mesh of this size has links with, its {{neighbours}} neighbours on the rings, among them the leader. They are
the real engine behind real links, all in another process; they ping, compare digests and refresh as neighbours do, but
accuse nobody: so all {MEMBERS} are alive to the agent, as they would be if they ran, and it dials nobody else. It is
started, asked until it knows all and has its links, asked by DNS for each of them, and left alone for {SURPLUS:g} s,
then for {IDLE:g} s which are measured. Resident
memory is that of `smaps_rollup` afterwards, processor time that of `stat`. The floor is a fresh interpreter that has
imported what smegd and its API import, and nothing else."""


def measure() -> Section:
    with settled_agent(MEMBERS) as settled:
        left = idle([settled.processes.pid("agent")], IDLE)
        settled.processes.pids()
        floor = _floor()
        if not settled.complete():
            raise RuntimeError("in the end it did not know all, or had other links than its neighbours'")
    return Section(
        f"An agent with {MEMBERS} members",
        METHOD.format(neighbours=settled.neighbours),
        (
            Figure("from its start to an answer that has all", settled.started),
            Figure("resident", left.resident / MEGABYTE, "MB", MEMORY_BOUND),
            Figure("resident, the floor", floor / MEGABYTE, "MB"),
            Figure(f"above the floor, for each of {MEMBERS}", (left.resident - floor) / 1000 / MEMBERS, "kB"),
            Figure("of one processor, idle", left.processor * 100, "%", PROCESSOR_BOUND),
        ),
    )


def _floor() -> int:
    """Bytes; of the second of two, as the first may still have to compile."""
    program = python("-c", FLOOR.format(directory=str(Path(__file__).parent)))
    asked = [subprocess.run(program, capture_output=True, text=True, check=True, timeout=START) for _ in range(2)]
    return int(asked[-1].stdout)
