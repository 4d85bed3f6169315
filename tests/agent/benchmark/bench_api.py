"""What it costs to ask an agent that knows a mesh of three thousand, and what its mesh notices of it."""

from __future__ import annotations

import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from agent_host import MESH, AgentHost, python
from api import Api
from processes import eventually
from section import Figure, Section, seconds
from settled_agent import SURPLUS, Settled, settled_agent
from usage import memory, processor_time

MEMBERS = 3000
ROUNDS = 30
PAUSE = 1.0  # seconds: after it nothing that was made for an earlier reader is good any more
POLLS = 20  # a second
TURNS, TURN = 6, 5.0  # seconds
READ_BOUND = 0.05  # seconds
DELAY_BOUND = 0.010  # seconds that one turn of the loop in a hundred may be later for the polls

PROCESSOR_BOUND = 15.0  # percent, all that the agent does included

STATUS = "/v1/status"
LIST = f"/v1/meshes/{MESH}/members"
GRAPH = f"/v1/meshes/{MESH}/graph"
QUERY = f"/v1/meshes/{MESH}/query?" + urlencode({"expression": f"members.{MESH}[?liveness=='down'].name"})
WATCHED_AGENT = Path(__file__).with_name("watched_agent.py")

METHOD = f"""\
The agent of the section before, with {MEMBERS} members, settled for {SURPLUS:g} s, asked over one connection to
its socket; the list of members is {{size:.1f}} MB. Wall time from the question to the last byte, medians of
{ROUNDS}; "anew" after {PAUSE:g} s in which nobody asked, so that the device and the view are read for it, "again"
at once; the query is for the names of those that are down. Then the agent is left alone for {TURN:g} s, and asked
for the status and the members in turn, {POLLS} times a second, for as long; {TURNS} times. Beside all it does, the
event loop, which serves the gossip as well, sleeps for 5 ms over and over: how much later it wakes up is its delay;
of the percentiles of each time the median is given. The one who asks takes processor time from the agent, too."""


def measure() -> Section:
    with tempfile.TemporaryDirectory(prefix="smegmesh-bench-") as directory:
        delays = Path(directory) / "delays.json"

        def command(host: AgentHost) -> list[str]:
            return python(str(WATCHED_AGENT), str(delays), *host.options())

        with settled_agent(MEMBERS, command) as settled, closing(Api(settled.host.socket)) as api:
            return _measure(settled, api, delays)


def _measure(settled: Settled, api: Api, delays: Path) -> Section:
    pid = settled.processes.pid("agent")
    size = len(api.read(LIST)) / 1e6
    figures = [
        Figure("status", _median(lambda: api.read(STATUS)), bound=READ_BOUND),
        Figure("members, anew", _median(lambda: api.read(LIST), PAUSE), bound=READ_BOUND),
        Figure("members, again", _median(lambda: api.read(LIST)), bound=READ_BOUND),
        Figure("one kind of members", _median(lambda: api.read(f"{LIST}?liveness=down")), bound=READ_BOUND),
        Figure("query, anew", _median(lambda: api.read(QUERY), PAUSE), bound=READ_BOUND),
        Figure("query, again", _median(lambda: api.read(QUERY)), bound=READ_BOUND),
        Figure("graph", _median(lambda: api.read(GRAPH))),
    ]
    alone, polled = [], []
    busy, longest = 0.0, 0.0
    for _turn in range(TURNS):
        _delays(pid, delays)
        time.sleep(TURN)
        alone.append(_delays(pid, delays))
        before = processor_time(pid)
        longest = max(longest, _poll(api))
        busy += processor_time(pid) - before
        polled.append(_delays(pid, delays))
    resident = memory(settled.processes.pid("agent")).resident
    settled.processes.pids()
    if not settled.complete():
        raise RuntimeError("in the end it did not know all, or had other links than its neighbours'")
    polls = f"{POLLS} polls a second"
    figures += [
        Figure(f"{polls}, of one processor", busy / (TURNS * TURN) * 100, "%", PROCESSOR_BOUND),
        Figure(f"{polls}, the longest answer", longest),
        Figure("resident afterwards", resident / 1e6, "MB"),
        Figure("delay of the loop alone, 99th percentile", _late(alone)),
        Figure(f"delay of the loop under {polls}, 99th percentile", _late(polled), bound=_late(alone) + DELAY_BOUND),
        Figure("delay of the loop alone, the longest", max(map(max, alone))),
        Figure(f"delay of the loop under {polls}, the longest", max(map(max, polled))),
    ]
    return Section("The API of an agent with many members", METHOD.format(size=size), tuple(figures))


def _median(read: Callable[[], object], pause: float = 0.0) -> float:
    taken = []
    for _round in range(ROUNDS):
        time.sleep(pause)
        taken.append(seconds(read))
    return statistics.median(taken)


def _poll(api: Api) -> float:
    """Ask for the status and the members in turn; the longest that an answer took."""
    longest, start = 0.0, time.monotonic()
    for number in range(round(TURN * POLLS)):
        time.sleep(max(start + number / POLLS - time.monotonic(), 0.0))
        longest = max(longest, seconds(lambda: api.read((STATUS, LIST)[number % 2])))  # noqa: B023
    return longest


def _delays(pid: int, file: Path) -> list[float]:
    """Seconds, since this was last asked."""
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    eventually(file.exists, 5.0, "the delays are written")
    delays: list[float] = json.loads(file.read_text())
    return delays


def _late(turns: list[list[float]]) -> float:
    """The 99th percentile of a turn's delays, median of the turns."""
    return statistics.median(statistics.quantiles(delays, n=100)[98] for delays in turns)
