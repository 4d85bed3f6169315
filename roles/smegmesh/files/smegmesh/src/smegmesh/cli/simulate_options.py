"""The options of `smegctl simulate`: known to every start of smegctl, so without the engine."""

from __future__ import annotations

import argparse

SCENARIOS = (
    *("change", "crash", "silent-crash", "bridge-crash"),
    *("hung-leader", "cold-start", "partition", "churn", "idle"),
)
#: Beside the scenario, the nodes and the seed.
OPTIONS = ("clients", "latency_ms", "loss", "stalled", "share", "duration", "heartbeat", "meshes")
MESHES = 3
MAX_MESHES = 32  # in a ring, of which the farthest must be in reach
MAX_NODES = 65_536
MAX_LATENCY = 1000.0  # ms; an observer waits for 3 s, there and back a few times
#: What some scenarios have a use for alone.
_ONLY = {
    "share": ("crash", "silent-crash"),
    "duration": ("partition", "churn", "idle"),
    "meshes": ("bridge-crash",),
    "stalled": tuple(name for name in SCENARIOS if name not in ("bridge-crash", "hung-leader")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add = parser.add_argument
    add("--nodes", type=int, required=True, metavar="N", help="hosts, clients included")
    add("--scenario", required=True, choices=SCENARIOS, help="what happens to it")
    add("--clients", type=int, default=0, metavar="N", help="how many of the nodes are clients (default 0)")
    add("--latency-ms", type=float, default=25.0, metavar="MS", help="median one-way latency (default 25)")
    add("--loss", type=float, default=0.0, metavar="SHARE", help="share of packets that are lost, 0 to 0.5 (default 0)")
    add(
        "--stalled",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of agents that stand still at any moment (default 0)",
    )
    add(
        "--share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="crash, silent-crash: share of the peers that fail (default: one)",
    )
    add(
        "--duration",
        type=float,
        metavar="S",
        help="virtual seconds that a partition (300), churn (120), idle (60) lasts",
    )
    add(
        "--meshes",
        type=int,
        metavar="N",
        help=f"bridge-crash: over how many meshes the nodes are spread, in a ring (default {MESHES})",
    )
    add("--heartbeat", type=float, default=60.0, metavar="S", help="seconds between a leader's refreshes (default 60)")
    add("--seed", type=int, default=1, metavar="N", help="the same seed gives the same run (default 1)")


def problem(options: argparse.Namespace) -> tuple[str, str, str] | None:
    """What is wrong with the options: which, what, what to do."""
    if not 2 <= options.nodes <= MAX_NODES:
        return "--nodes", f"{options.nodes} is no size of a mesh", f"give 2 to {MAX_NODES}"
    if options.clients < 0:
        return "--clients", f"{options.clients} is no number of clients", "give 0 or more"
    if options.clients > options.nodes - 2:
        return (
            "--clients",
            f"{options.clients} of {options.nodes} nodes leave too few peers",
            "leave two peers at least",
        )
    for name, most in (("loss", 0.5), ("stalled", 0.9)):
        if not 0 <= getattr(options, name) <= most:
            return f"--{name}", f"{getattr(options, name):g} is out of range", f"give 0 to {most:g}"
    if not 0 <= options.share < 1:
        return "--share", f"{options.share:g} is no share", "give 0 to less than 1"
    for name, least, most in (
        ("latency_ms", 0.01, MAX_LATENCY),
        ("heartbeat", 1.0, 86_400.0),
        ("duration", 0.001, 86_400.0),
    ):
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            return f"--{name.replace('_', '-')}", f"{value:g} is out of range", f"give {least:g} to {most:g}"
    if options.seed < 0:
        return "--seed", f"{options.seed} is no seed", "give 0 or more"
    for name, scenarios in _ONLY.items():
        if getattr(options, name) and options.scenario not in scenarios:
            return f"--{name}", f"says nothing in {options.scenario}", f"it is for {', '.join(scenarios)}"
    return _problem_of_meshes(options) if options.scenario == "bridge-crash" else None


def _problem_of_meshes(options: argparse.Namespace) -> tuple[str, str, str] | None:
    meshes = MESHES if options.meshes is None else options.meshes
    if not 2 <= meshes <= MAX_MESHES:
        return "--meshes", f"{meshes} is no number of meshes to bridge", f"give 2 to {MAX_MESHES}"
    least = 3 * meshes  # two bridges at each joint, and somebody in each mesh
    if options.nodes - options.clients < least:
        return "--nodes", f"{meshes} meshes need more peers", f"give {least} nodes at least, beside clients"
    return None
