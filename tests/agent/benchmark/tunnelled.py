"""A network of the benchmark's own: a namespace for each agent, where it has a WireGuard interface of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "netns"))

from namespaces import Host, Lab, lab


class Tunnelled:
    """Hosts on a bridge, made when they are first asked for."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def address(self, number: int) -> str:
        """Of the agent with this number, from 1 on."""
        return self._host(number).underlay

    def command(self, number: int, arguments: Sequence[str]) -> list[str]:
        """The command line that runs something on an agent's host; what it starts becomes that itself."""
        return self._host(number).command(arguments)

    def _host(self, number: int) -> Host:
        while len(self._lab.hosts) < number:
            self._lab.host(f"n{len(self._lab.hosts) + 1}")
        return self._lab.hosts[number - 1]


@contextmanager
def tunnelled() -> Iterator[Tunnelled]:
    """A network that is gone afterwards with all that runs in it, whatever happens in between."""
    with lab() as opened:
        yield Tunnelled(opened)
