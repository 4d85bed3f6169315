"""What lies behind exits, and those who use it: servers that say whom they see, flows that note what is lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Network
from itertools import pairwise
from math import inf
from pathlib import Path

from agents import Agent, Fits
from namespaces import Host

from smegmesh.routing.paths import preferred_exit

_PROGRAM = str(Path(__file__).with_name("answering.py"))
PAUSE = 0.05  # seconds between the flows of `Flows`


def serve(host: Host, *addresses: str) -> None:
    """Have a host answer on these addresses, until the lab closes."""
    server = host.start(sys.executable, _PROGRAM, "serve", *addresses)
    assert server.stdout is not None and server.stdout.readline() == "ready\n"


def ask(host: Host, address: str) -> str | None:
    """Whom a server sees when a host asks it; None without an answer."""
    return host.run(sys.executable, _PROGRAM, "ask", address).strip() or None


@dataclass(frozen=True)
class Told:
    """What became of flows: for each when it began, and whom the server saw; None for one without an answer."""

    flows: tuple[tuple[float, str | None], ...]

    @property
    def lost(self) -> int:
        """How many had no answer."""
        return sum(seen is None for _when, seen in self.flows)

    @property
    def gap(self) -> float:
        """Seconds of the longest time in which no flow began that was answered."""
        answered = [when for when, seen in self.flows if seen is not None]
        marks = [self.flows[0][0], *answered, self.flows[-1][0]]
        return max(after - before for before, after in pairwise(marks))

    def back(self, since: float) -> float:
        """Seconds from a moment to the first flow that began after the last one without an answer; 0 if all had one."""
        lost = max((when for when, seen in self.flows if seen is None), default=None)
        if lost is None:
            return 0.0
        return min((when for when, _seen in self.flows if when > lost), default=inf) - since

    def seen(self) -> list[str]:
        """Whom the server saw, one after the other."""
        found = [seen for _when, seen in self.flows if seen is not None]
        return found[:1] + [after for before, after in pairwise(found) if after != before]


class _Client:
    """A client of a server that runs beside the test."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self._process = host.start(sys.executable, _PROGRAM, *arguments)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def _end(self) -> str:
        output, _ = self._process.communicate(timeout=30)
        if self._process.returncode:
            raise AssertionError(output)
        return output


class Flows(_Client):
    """A new flow twenty times a second."""

    def __init__(self, host: Host, address: str) -> None:
        super().__init__(host, "flows", address, str(PAUSE))

    def end(self) -> Told:
        """No more of them; what became of each."""
        return Told(tuple((when, seen) for when, seen in json.loads(self._end())))


class Stream(_Client):
    """One connection that says something fifty times a second, and waits for the echo."""

    def __init__(self, host: Host, address: str) -> None:
        super().__init__(host, "stream", address)

    def end(self) -> dict[str, float]:
        """Close it: how much was `sent` and echoed, the `longest` wait, how often TCP `retransmitted`."""
        told: dict[str, float] = json.loads(self._end())
        return told


def preferring(prefix: str, *exits: Agent) -> Fits:
    """For a receiver that is to prefer the first of these exits to a prefix, then the second, and so on."""
    keys = [each.node_key for each in exits]

    def fits(key: bytes) -> bool:
        return all(preferred_exit(key, IPv6Network(prefix), keys[place:]) == keys[place] for place in range(len(keys)))

    return fits


def route(agent: Agent, prefix: str) -> str | None:
    """The exit that routing says a host uses for a prefix; None for none."""
    routes = (agent.mesh() or {}).get("routes", [])
    return next((each["via"] for each in routes if each["prefix"] == prefix and each["used"]), None)


Make = Callable[..., Agent]
