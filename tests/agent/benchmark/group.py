"""Agents that know each other, as they are measured: the same questions to smegmesh and to serf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Network(Protocol):
    """Where agents run, each with an address of its own. They are numbered from 1 on."""

    def address(self, number: int) -> str: ...
    def command(self, number: int, arguments: Sequence[str]) -> list[str]:
        """The command line that runs something there; the process that it starts becomes that itself."""


class Group(Protocol):
    """Agents by name, each a process of its own."""

    @property
    def names(self) -> list[str]: ...

    def start(self, name: str) -> None:
        """Start an agent. Returns before it is known."""

    def pids(self) -> list[int]:
        """The processes of those that were started; RuntimeError if one has ended by itself."""

    def alive(self, observer: str) -> int:
        """How many agents this one takes for alive, itself included; 0 as long as it does not answer."""

    def agrees(self) -> bool:
        """Whether all that were started say the same now."""

    def begin_change(self, name: str) -> None:
        """Ask an agent to say something new of itself; does not wait for its answer."""

    def knows_change(self, observer: str, name: str) -> bool:
        """Ask an agent whether it knows what another was made to say last."""

    def end_change(self, name: str) -> None:
        """Take the changed agent's answer; Disturbed if the others know something else by now than it said."""

    def told_change(self, name: str) -> None:
        """Wait until the event stream of every other agent has told of the change, if they have any."""

    def kill(self, name: str) -> None:
        """SIGKILL an agent."""

    def knows_loss(self, observer: str) -> bool:
        """Ask an agent whether it takes anybody for dead."""

    def told_loss(self, name: str) -> None:
        """Wait until the event stream of every other agent has told of the loss, if they have any."""

    def judgement(self, observer: str, name: str) -> str:
        """How an agent finds another, in its own words."""

    def close(self) -> None:
        """End all."""


class Disturbed(Exception):
    """Something happened that was not asked for; what was measured meanwhile does not count."""
