"""`smegctl simulate`: what a mesh of some size would do, computed with the real engine. No agent is needed."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from dataclasses import asdict
from typing import Any

from smegmesh.cli.output import plain, size, table
from smegmesh.cli.simulate_options import MESHES, OPTIONS
from smegmesh.simulation.scenario import run
from smegmesh.simulation.setup import Kind, Outcome, Setup
from smegmesh.simulation.traffic import CLASSES, held_open

#: What the last time is where nobody gets to know anything in particular.
_ALL = {
    Kind.COLD_START: "every map is equal after",
    Kind.PARTITION: "all is well again after",
    Kind.CHURN: "all is well again after",
}
#: How the title says what else was asked.
_SAID = {
    "clients": "{} of them clients",
    "loss": "loss {:g}",
    "stalled": "stalled {:g}",
    "share": "share {:g}",
    "duration": "{:g} s",
    "heartbeat": "heartbeat {:g} s",
    "meshes": "{} meshes",
}
_BAR = 30
_WIDTH = 80  # of a terminal that does not know
_REFRESH = 0.2  # seconds between two pictures of the progress bar


def simulate(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Run it: for --json, and for people."""
    setup = Setup(
        kind=Kind(options.scenario),
        nodes=options.nodes,
        clients=options.clients,
        latency=options.latency_ms / 1000,
        loss=options.loss,
        stalled=options.stalled,
        share=options.share,
        duration=options.duration,
        heartbeat=options.heartbeat,
        seed=options.seed,
        meshes=options.meshes or MESHES,
    )
    progress = _Bar(sys.stderr is not None and sys.stderr.isatty())
    start = time.monotonic()
    # Millions of small values live through the whole run: looking for garbage among them only costs.
    gc.disable()
    try:
        outcome = run(setup, progress.show)
    finally:
        gc.enable()
        progress.clear()
    wall = round(time.monotonic() - start, 2)
    tunnels = None if setup.kind is Kind.BRIDGE_CRASH else held_open(setup.nodes - setup.clients, setup.clients)
    data = {
        **asdict(outcome),
        "tunnel_bytes_per_node_s": None if tunnels is None else round(tunnels, 1),
        "options": {name: getattr(options, name) for name in OPTIONS},
        "wall_s": wall,
    }
    return data, f"{title(setup)}: computed in {wall:.1f} s\n\n{text(outcome, tunnels)}"


def title(setup: Setup) -> str:
    """What was asked, as far as it is not what is done without being asked."""
    usual = Setup(setup.kind, setup.nodes)
    said = [setup.kind.value, f"{setup.nodes} nodes", f"{setup.latency * 1000:g} ms", f"seed {setup.seed}"]
    for name, words in _SAID.items():
        value = getattr(setup, name)
        if value not in (getattr(usual, name), None):
            said.insert(-1, words.format(value))
    return ", ".join(said)


def text(outcome: Outcome, tunnels: float | None) -> str:
    """The outcome as a table; `tunnels`: bytes a second that hold them open."""
    rows: list[tuple[str, object]] = []
    kind = Kind(outcome.scenario)
    event, on = ("routes right again", "on") if kind is Kind.BRIDGE_CRASH else ("known", "to")
    if kind not in (Kind.PARTITION, Kind.CHURN, Kind.IDLE):
        rows.append((f"{event} {on} half of the nodes", _seconds(outcome.p50_s)))
        rows.append((f"{event} {on} 99 %", _seconds(outcome.p99_s)))
    if kind is not Kind.IDLE:
        rows.append((_ALL.get(kind, f"{event} {on} all"), _seconds(outcome.all_s)))
    if outcome.copies_per_node is not None:
        rows.append(("copies of the change a node", f"{outcome.copies_per_node:.2f}"))
    sent = outcome.tx_bytes_per_node_s
    rows += [(f"sent a node, {name.replace('_', '-')}", f"{size(round(sent[name]))}/s") for name in CLASSES]
    rows.append((f"sent a node, all, over {outcome.measured_s:.1f} s", f"{size(round(sum(sent.values())))}/s"))
    if tunnels is not None:
        rows.append(("beside that, keepalives of tunnels", f"{size(round(tunnels))}/s"))
    if outcome.false_downs is not None:
        rows.append(("false downs", outcome.false_downs))
    rows.append(("converged", "yes" if outcome.converged else "no"))
    return table(("WHAT", "FIGURE"), [(what, plain(value)) for what, value in rows], False)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f} s"


class _Bar:
    """A progress bar on standard error, if that is a terminal."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._next = 0.0

    def show(self, share: float, what: str) -> None:
        """So much of what goes on now is done."""
        if not self._shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REFRESH
        full = round(min(max(share, 0.0), 1.0) * _BAR)
        width = os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH
        line = f"[{'#' * full}{'.' * (_BAR - full)}] {what}"[: width - 1]
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
