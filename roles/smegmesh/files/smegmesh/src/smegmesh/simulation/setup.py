"""What is asked of a simulated scenario, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

Progress = Callable[[float, str], None]


class Kind(str, Enum):
    """What is done."""

    CHANGE = "change"  # one node changes its entry
    CRASH = "crash"  # agents die, their hosts go on
    SILENT_CRASH = "silent-crash"  # hosts die without a word
    BRIDGE_CRASH = "bridge-crash"  # of several meshes: one that forwards between two of them dies
    HUNG_LEADER = "hung-leader"  # the leader answers, but its timers are dead
    COLD_START = "cold-start"  # all nodes start at once and know nobody
    PARTITION = "partition"  # half from half, then healed
    CHURN = "churn"  # nodes die, leave and start at random
    IDLE = "idle"  # nothing happens


#: Virtual seconds of the scenarios that last.
DURATIONS = {Kind.PARTITION: 300.0, Kind.CHURN: 120.0, Kind.IDLE: 60.0}


@dataclass(frozen=True, slots=True)
class Setup:
    """A mesh, its network, and what is done. Times are seconds, shares from 0 to 1.

    `latency` is the median of a one-way trip; `stalled` the share of agent processes that
    stand still at any moment; `share` the share of peers that fail in a crash (0: one). `meshes` is how many there are
    in a `bridge-crash`, where nothing stands still.
    """

    kind: Kind
    nodes: int
    clients: int = 0
    latency: float = 0.025
    loss: float = 0.0
    stalled: float = 0.0
    share: float = 0.0
    duration: float | None = None
    heartbeat: float = 60.0
    seed: int = 1
    sharing: bool = True
    meshes: int = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured. Times are virtual seconds from the event until a node knew of it (`bridge-crash`: until its
    routes were right again, of those whose were not), None if some never did.

    `copies_per_node`: how often a node received the change. `tx_bytes_per_node_s` by class of traffic, over
    the `measured_s` that this took. `false_downs`: nodes whose host was up and that anybody held for down; None
    where nodes are cut off or come and go. `converged`: whether all agreed again, at the latest 15 s afterwards.
    """

    nodes: int
    scenario: str
    seed: int
    p50_s: float | None
    p99_s: float | None
    all_s: float | None
    copies_per_node: float | None
    measured_s: float
    tx_bytes_per_node_s: dict[str, float]
    false_downs: int | None
    converged: bool


def rounded(seconds: float | None) -> float | None:
    """To a microsecond."""
    return None if seconds is None else round(seconds, 6)


def quantile(times: list[float], share: float, of: int) -> float | None:
    """The time by which a share of so many knew; None if they did not."""
    needed = -(-int(share * 1000) * of // 1000)
    return times[needed - 1] if 0 < needed <= len(times) else None
