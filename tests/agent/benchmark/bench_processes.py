"""Forty agents as real processes beside forty of serf: how soon all know something, and what that takes."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from group import Group, Network
from loopback import Loopback, loopback
from section import Figure, Section
from serf_group import SerfGroup
from smegmesh_group import SmegmeshGroup
from tunnelled import tunnelled
from usage import Idle, idle
from visibility import Times, asking, changes, losses, start

AGENTS = 40
CHANGES, LOSSES = 15, 5
SURPLUS = 40.0  # seconds after which the links that nobody needs are closed
IDLE = 60.0
CHANGE_RATIO, LOSS_RATIO = 25.0, 20.0

METHOD = """\
{agents} agents of smegmesh, then {agents} of serf {serf} (Debian's package, its defaults, profile LAN), each a process
with an address of its own in a network namespace that has nothing but a loopback. smegd runs as it does on a host,
with certificates, TLS and its database, but holds WireGuard's state in memory (`plane: memory`). They are started one
after the other, each when the one before knows all.

*A change*: {changes} times an agent drawn by lot gets another alias (its declaration is written, then `POST
/v1/reload`), or another tag (serf's RPC `tags`). The time runs from that request until every other agent has shown the
change when asked: smegd by `GET /v1/meshes` (the digest that the changed agent has then; afterwards the alias itself is
looked at), serf by its RPC `members-filtered`. Eight agents at a time are asked, each every 5 ms until it knows, then
the next, in an order drawn by lot; so what asking all takes, which is in the table, is in these times, too. {agents}
agents share the processors of this machine: what a change costs all of them together is most of smegmesh's time, which
would be shorter on as many hosts; serf mostly waits for its next round of gossip. serf tells of a change twice: first
an agent's table has it (*known*), then its event stream and its event handlers (*told*), once no other event came for a
second. smegmesh has no event stream; what an agent shows is what it acts on.

*A loss*: {losses} times an agent drawn by lot is killed by SIGKILL, and started again after the round. The time runs
from the kill until all others take it for lost, asked for in the same way: smegd calls it `mute` (the agent is gone,
its host answers through the tunnel) or `down`, serf `failed`. smegd's observers ask the tunnel, and need no patience
where it answers. So that there are tunnels to ask, this is measured on a second group of smegmesh: {agents} namespaces
on a bridge, each with an interface of wireguard-go. With WireGuard in memory nobody can be asked: an observer waits
until it has heard nothing for 3 s, and calls the agent {blind}.

*Idle*: {surplus:g} s after the last round all are left alone for {idle:g} s. Resident memory is that of `smaps_rollup`
(PSS counts a page that n processes share as one n-th), processor time that of `stat`, and the bytes are all that the
loopback has carried, headers included, divided by the agents. Each smegd has been asked through its API before, which
loads what answers."""


@dataclass(frozen=True)
class Measured:
    """What the agents of one kind took."""

    change: Times
    loss: Times
    asking: float
    idle: Idle
    rate: float  # bytes a second and agent


def measure() -> Section:
    ours = _measured("smegmesh", SmegmeshGroup)
    serfs = _measured("serf", SerfGroup)
    tunnels = _losses_with_tunnels()
    blind = " or ".join(sorted(f"`{word}`" for word in ours.loss.words))
    return Section(
        f"{AGENTS} agents beside {AGENTS} of serf",
        METHOD.format(
            agents=AGENTS,
            serf=_serf_version(),
            changes=CHANGES,
            losses=LOSSES,
            blind=blind,
            surplus=SURPLUS,
            idle=IDLE,
        ),
        (
            *_times("a change known to all, smegmesh", ours.change.known),
            *_times("a change known to all, serf", serfs.change.known),
            *_times("a change told to all, serf", serfs.change.told),
            Figure("serf's time until known over smegmesh's", _ratio(serfs.change.known, ours.change.known), ""),
            Figure(
                "serf's time until told over smegmesh's",
                _ratio(serfs.change.told, ours.change.known),
                "",
                at_least=CHANGE_RATIO,
            ),
            Figure(f"asking all {AGENTS}, smegmesh", ours.asking),
            Figure(f"asking all {AGENTS}, serf", serfs.asking),
            *_times(f"a loss known to all, smegmesh, {_words(tunnels)}", tunnels.known),
            *_times(f"the same without tunnels, {_words(ours.loss)}", ours.loss.known),
            *_times(f"a loss known to all, serf, {_words(serfs.loss)}", serfs.loss.known),
            *_times("a loss told to all, serf", serfs.loss.told),
            Figure(
                "serf's time until known over smegmesh's with tunnels",
                _ratio(serfs.loss.known, tunnels.known),
                "",
                at_least=LOSS_RATIO,
            ),
            *_taken("smegmesh", ours),
            *_taken("serf", serfs),
        ),
    )


def _measured(kind: str, make: Callable[[Loopback, Path, int], Group]) -> Measured:
    with loopback(kind) as network, _running(lambda directory: make(network, directory, AGENTS)) as group:
        change = changes(group, CHANGES)
        loss = losses(group, LOSSES)
        asked = asking(group)
        time.sleep(SURPLUS)
        before, since = network.bytes_sent(), time.monotonic()
        left = idle(group.pids(), IDLE)
        rate = (network.bytes_sent() - before) / (time.monotonic() - since) / AGENTS
        return Measured(change, loss, asked, left, rate)


def _losses_with_tunnels() -> Times:
    with tunnelled() as network, _running(lambda directory: _with_tunnels(network, directory)) as group:
        return losses(group, LOSSES)


def _with_tunnels(network: Network, directory: Path) -> Group:
    return SmegmeshGroup(network, directory, AGENTS, "userspace")


@contextmanager
def _running(make: Callable[[Path], Group]) -> Iterator[Group]:
    """A group that is ended whatever happens in between."""
    with tempfile.TemporaryDirectory(prefix="smegmesh-bench-") as directory:
        group = make(Path(directory))
        try:
            start(group)
            yield group
        finally:
            group.close()


def _times(what: str, seconds: list[float]) -> tuple[Figure, Figure]:
    return Figure(f"{what}: median", median(seconds)), Figure(f"{what}: worst", max(seconds))


def _ratio(theirs: list[float], ours: list[float]) -> float:
    return median(theirs) / median(ours)


def _words(times: Times) -> str:
    return " or ".join(f"`{word}`" for word, _count in times.words.most_common())


def _taken(kind: str, measured: Measured) -> tuple[Figure, ...]:
    megabyte = 1e6
    return (
        Figure(f"an idle agent of {kind}: resident", measured.idle.resident / megabyte, "MB"),
        Figure(f"an idle agent of {kind}: resident, shared pages divided (PSS)", measured.idle.share / megabyte, "MB"),
        Figure(f"an idle agent of {kind}: of one processor", measured.idle.processor * 100, "%"),
        Figure(f"an idle agent of {kind}: sends", measured.rate, "B/s"),
    )


def _serf_version() -> str:
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "serf"], capture_output=True, text=True, check=True)
    return asked.stdout.strip()
