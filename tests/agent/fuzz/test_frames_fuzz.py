"""The fuzz target of the codec: mutated frames, read alone and by an engine on a link that is ready.

FUZZ_SECONDS (60) for both tests together, FUZZ_SEED (1): the frames follow from it, and from nothing else. A failure
says the seed, the frame and how to try that one alone: FUZZ_FRAME=hex, or @file for a long one.

A frame is kept and mutated further when it makes the engine behave as none did before: another fault, counter,
answer or event. That is what guides the fuzzer; it is cheap, and needs no tracing of the code.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections import Counter
from functools import lru_cache
from math import inf
from pathlib import Path
from random import Random
from typing import get_args
from zlib import crc32

import pytest
from frames import NAMES, Mutator, corpus, everything, items_of, members

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.fault import Fault
from smegmesh.crdt.record import Kind, decode_record
from smegmesh.crdt.removal import decode_removal
from smegmesh.crdt.statement import accept_entry, accept_verdict
from smegmesh.gossip.codec import (
    MAX_FRAME,
    PROTOCOLS,
    FrameError,
    Hello,
    Items,
    Ping,
    Pong,
    decode,
    encode,
)
from smegmesh.gossip.engine import Close, Engine, Event, Send, Settings
from smegmesh.gossip.view import Liveness
from smegmesh.simulation.credentials import authority, node_key
from smegmesh.simulation.mesh import MESH, Simulation

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
_SEED = int(os.environ.get("FUZZ_SEED", "1"))
_FRAME = os.environ.get("FUZZ_FRAME")

#: The engine under test, its neighbours, and who sends what is fuzzed: on a link that is ready, and before it is.
_OWN, _HONEST, _SENDER, _STRANGER = "p0", ("p2", "p5"), "p1", "p6"
#: Whose keys the sender has: now and then another member's, hardly ever the own ones, as that makes an engine stop.
_AUTHORS = {name: {_SENDER: 2000, _OWN: 1}.get(name, 40) for name in NAMES}
#: Bytes sent for one received beyond what the maps hold, which a frame may ask for once: nodes of the digest tree.
_AMPLIFICATION = 300
#: CPU seconds for a frame, and for a byte of it.
_PATIENCE, _PATIENCE_BYTE = 0.5, 4e-6
#: Frames for one engine; then a new one starts where this one did.
_LIFE = 1500
_POOL = 5000
_MEMORY, _MEMORY_FRAME = 128 * 1024, 32 * 1024  # KiB that the whole run and a frame may add to the highest so far
_REASON = 1000

pytestmark = [
    pytest.mark.timeout(_SECONDS + 120),
    # A future cryptography refuses such certificates, as it does most of what comes here.
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
]


class Broken(Exception):
    """A property that a frame broke."""


class Target:
    """An engine that knows the mesh of the corpus, on links with three of its members."""

    def __init__(self, known: Items) -> None:
        own = members()[_OWN]
        self.fed = 0
        self._held = len(encode(known))  # about as many bytes are in the maps, or were, and may be asked for
        self.now = 0.0
        self._links = 0
        self.engine = Engine(
            Settings(MESH, bad_frames=10**9), own.identity, own.certificate, authority(), Random(_SEED), self.now
        )
        self.engine.set_entry(
            Entry(name=_OWN, role=Role.PEER, tunnel_key=node_key(_OWN), endpoints=("p0.example:51820",)), self.now
        )
        self.honest = [self._link_up(name) for name in _HONEST]
        self.sender = self._link_up(_SENDER)
        self.engine.receive(self.honest[0], encode(known), self.now)
        for _ in range(500):
            self._pass(0.01)
        assert len(self.engine.view().members) > 8
        assert not self.engine.counters["bad_frames"]

    def feed(self, frame: bytes) -> tuple[object, ...]:
        """The frame as the sender's; returns how the engine behaved. Raises Broken."""
        self.fed += 1
        self.sender, *self.honest = map(self._again, (self.sender, *self.honest), (_SENDER, *_HONEST))
        fault = _read(frame)
        counters, bad = self.engine.counters.copy(), self.engine.counters["bad_frames"]
        fresh = _is_first(frame)
        link = self._link_up(_STRANGER, greet=False) if fresh else self.sender
        view, links = self.engine.view(), self.engine.links()
        memory, started = _peak_memory(), time.process_time()
        self._guard(lambda: self.engine.receive(link, frame, self.now))
        took = time.process_time() - started
        events = self.engine.events()
        if took > _PATIENCE + _PATIENCE_BYTE * len(frame):
            raise Broken(f"took {took:.2f} s of CPU for {len(frame)} bytes")
        if _peak_memory() > memory + _MEMORY_FRAME:
            raise Broken(f"took {(_peak_memory() - memory) // 1024} MiB for {len(frame)} bytes")
        self._check_view(frame, view, links, link, fresh)
        self._check_timer()
        events += self._pass(0.001)
        if self.engine.view() != view or (fresh and fault is None):
            for _ in range(8):  # what is concluded from it may come later, and is not the next frame's doing
                events += self._pass(0.25)
        self._check_output(frame, events)
        if fault and self.engine.counters["bad_frames"] == bad:
            raise Broken(f"was {fault} and not counted")
        if self.fed % 50 == 0:
            self._check_honest()
        if fresh:
            self.engine.link_down(link, self.now)
        told = {event.frame[1] if isinstance(event, Send) else type(event).__name__ for event in events}
        return fault, frozenset(self.engine.counters - counters), frozenset(told), self.engine.view() is view, fresh

    def _again(self, link: int, name: str) -> int:
        """The link, or a new one if it was not needed any more or members signed what ended it."""
        return link if link in self.engine.links() else self._link_up(name)

    def _link_up(self, name: str, *, greet: bool = True) -> int:
        self._links += 1
        self.engine.link_up(self._links, members()[name].certificate, False, self.now)
        if greet:
            hello = Hello(*PROTOCOLS, MESH, self._links.to_bytes(8, "big"), bytes(32), Items())
            self.engine.receive(self._links, encode(hello), self.now)
        self.engine.events()
        return self._links

    def _pass(self, seconds: float) -> list[Event]:
        """Let time pass; all neighbours are heard now and then."""
        before, self.now = self.now, self.now + seconds
        if int(self.now * 2) != int(before * 2):
            for link in (*self.honest, self.sender):
                self.engine.receive(link, encode(Pong()), self.now)
        if self.now >= self.engine.next_timer():
            self._guard(lambda: self.engine.timer(self.now))
        self._check_timer()
        return self.engine.events()

    def _guard(self, call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except BaseException as error:
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":  # of cryptography's Rust
                raise Broken(f"the engine raised {error!r}") from error
            raise

    def _check_timer(self) -> None:
        due = self.engine.next_timer()
        if not self.now <= due < inf:
            raise Broken(f"the next timer is {due}, now is {self.now}")

    def _check_view(self, frame: bytes, view: object, links: dict[int, bytes], link: int, fresh: bool) -> None:
        others = {number: key for number, key in self.engine.links().items() if number != link}
        links.pop(link, None)
        if self.engine.view() == view and others == links:
            return
        self._held += len(frame)
        if _is_signed(frame):
            return
        if others != links:
            raise Broken(f"the links were {links}, are {others}")
        if not fresh:  # a hello also says that its sender is alive
            raise Broken("the view changed, and nothing in the frame was signed by a member")

    def _check_output(self, frame: bytes, events: list[Event]) -> None:
        sent = sum(len(event.frame) for event in events if isinstance(event, Send))
        if sent > self._held + _AMPLIFICATION * len(frame):
            raise Broken(f"{sent} bytes were sent for {len(frame)}")
        for event in events:
            if isinstance(event, Send) and len(event.frame) > MAX_FRAME:
                raise Broken(f"a frame of {len(event.frame)} bytes was sent")
            if isinstance(event, Close) and not (len(event.reason) <= _REASON and event.reason.isprintable()):
                raise Broken(f"a link was closed for {event.reason!r}")

    def _check_honest(self) -> None:
        for link in self.honest:
            if link not in self.engine.links():
                continue
            self.engine.receive(link, encode(Ping()), self.now)
            if Send(link, encode(Pong())) not in self.engine.events():
                raise Broken("an honest neighbour gets no answer any more")


def _read(frame: bytes) -> str | None:
    """What is wrong with a frame, as the codec says; None if it is a message. Raises Broken."""
    try:
        message = decode(frame)
    except FrameError as error:
        if error.fault not in get_args(Fault):
            raise Broken(f"there is no fault {error.fault}") from error
        return re.sub(r"[0-9]+|'.*?'", "#", str(error))
    except Exception as error:
        raise Broken(f"the codec raised {error!r}") from error
    if decode(encode(message)) != message:
        raise Broken(f"{message} is another one when it is encoded and read again")
    return None


def _is_first(frame: bytes) -> bool:
    """Whether to send it on a new link, where a hello is expected: hellos, and some others."""
    return frame[1:2] == b"\0" or crc32(frame) % 16 == 0


def _is_signed(frame: bytes) -> bool:
    """Whether the frame carries anything that a member or the authority signed for this mesh."""
    items = items_of(frame)
    return items is not None and (
        any(map(_is_record_signed, items.records)) or any(map(_is_removal_signed, items.removals))
    )


@lru_cache(4096)
def _is_record_signed(triple: tuple[bytes, bytes, bytes]) -> bool:
    certificates = {own.certificate.fingerprint: own.certificate for own in members().values()}
    try:
        record = decode_record(*triple)
        certificate = certificates[record.certificate]
        if record.kind is Kind.LEAVE:
            record.check(MESH, certificate)
        else:
            (accept_entry if record.kind is Kind.ENTRY else accept_verdict)(record, MESH, certificate)
    except (KeyError, ValueError):
        return False
    return True


@lru_cache(4096)
def _is_removal_signed(data: bytes) -> bool:
    certificates = {own.certificate.fingerprint: own.certificate for own in members().values()}
    try:
        removal = decode_removal(data)
        removal.check(MESH, certificates.get(removal.certificate or b""), authority())
    except ValueError:
        return False
    return True


def _peak_memory() -> int:
    """Of this process, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _report(frame: bytes, number: int, since: int, error: Broken, known: Items, directory: Path) -> str:
    try:
        Target(known).feed(frame)
        alone = f"it does so only after the {since} frames before it: FUZZ_SEED={_SEED} gets there again"
    except Broken:
        alone = "alone, too"
    text = frame.hex()
    if len(text) > 100_000:  # more than an environment takes
        file = directory / "frame"
        file.write_text(text)
        text = f"@{file}"
    command = f"FUZZ_SEED={_SEED} FUZZ_FRAME={text} python -m pytest tests/agent/fuzz/test_frames_fuzz.py"
    return f"FUZZ_SEED={_SEED}, frame {number}: {error}; {alone}\n{command}"


def test_frames_that_are_mutated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = corpus(_SEED)
    known = everything(frames)
    if _FRAME is not None:
        text = Path(_FRAME[1:]).read_text() if _FRAME.startswith("@") else _FRAME
        Target(known).feed(bytes.fromhex(text))
        return
    mutator = Mutator(Random(_SEED), frames, _AUTHORS, [node_key(name) for name in NAMES])
    target = Target(known)
    behaviours: Counter[object] = Counter()
    number, memory, slowest, start = 0, _peak_memory(), 0.0, time.monotonic()
    for number, frame in enumerate(iter(mutator.frame, None), 1):
        if target.fed >= _LIFE:
            target = Target(known)
        try:
            before = time.process_time()
            behaviour = target.feed(frame)
            slowest = max(slowest, time.process_time() - before)
        except Broken as error:
            pytest.fail(_report(frame, number, target.fed - 1, error, known, tmp_path))
        behaviours[behaviour] += 1
        if behaviours[behaviour] == 1 and len(mutator.pool) < _POOL and len(frame) < 64 * 1024:
            mutator.pool.append(frame)
        if time.monotonic() - start > _SECONDS * 5 / 6 and number >= 100:
            break
    took = time.monotonic() - start
    with capsys.disabled():
        print(
            f"\nFUZZ_SEED={_SEED}: {number} frames, {number / took:.0f} a second, {len(behaviours)} behaviours, "
            f"the slowest frame {slowest * 1000:.0f} ms"
        )
    assert _peak_memory() - memory < _MEMORY


@pytest.mark.skipif(_FRAME is not None, reason="one frame is tried")
def test_a_mesh_does_not_suffer_from_a_member_that_sends_mutated_frames() -> None:
    """It connects again and again; nobody is lost, nobody is accused, and all agree at the end."""
    names = ("q0", "q1", "q2")
    frames = corpus(_SEED)
    hellos = [frame for frame in frames if isinstance(decode(frame), Hello)]
    rng = Random(_SEED)
    mutator = Mutator(rng, frames, {"p9": 1}, [node_key(name) for name in (*NAMES, *names)])
    simulation = Simulation(_SEED, 0, bad_frames=200)
    for name in names:
        simulation.add(name, Role.PEER)
    simulation.bootstrap = (simulation.nodes["q0"].address,)
    simulation.start()
    simulation.run_for(10)
    engine = simulation.engine("q0")
    end = time.monotonic() + _SECONDS / 6
    rounds = 0
    while time.monotonic() < end or rounds < 5:
        rounds += 1
        link = 1_000_000 + rounds
        simulation.call("q0", "link_up", link, members()["p9"].certificate, False)
        for frame in (rng.choice(hellos), *(mutator.frame() for _ in range(300))):
            simulation.call("q0", "receive", link, frame)
            if link not in engine.links():
                break
        simulation.call("q0", "link_down", link)
        simulation.run_for(1)
    assert engine.counters["bad_frames"] > 0
    simulation.run_for(30)
    assert all(simulation.liveness(name) == {Liveness.ALIVE} for name in names)
    assert len({simulation.view(name).digest for name in names}) == 1
    assert {simulation.key("q1"), simulation.key("q2")} <= set(engine.links().values())
    assert not any(simulation.nodes[name].alarms for name in names)
