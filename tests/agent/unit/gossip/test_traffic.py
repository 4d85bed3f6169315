"""What messages are counted as, by the engine and by the simulation."""

from __future__ import annotations

import pytest

from smegmesh.crdt.verdict import Accusation, encode_verdict
from smegmesh.gossip.codec import Hello, Items, Message, Nodes, Ping, Pong, Restart, Root, Same, WantNodes, encode
from smegmesh.gossip.traffic import CLASSES, traffic_class
from smegmesh.simulation import traffic as simulated
from smegmesh.simulation.mesh import Simulation

ROOT = bytes(32)
QUIET = (b"header", b"signature", encode_verdict({}))
ACCUSING = (b"header", b"signature", encode_verdict({b"k" * 32: Accusation(1, False)}))
MESSAGES: list[tuple[Message, str]] = [
    (Ping(), "ping"),
    (Pong(), "ping"),
    (Hello(2, 2, "prod", bytes(8), ROOT, Items(sync=True)), "links"),
    (Restart(20.0), "links"),
    (Root(ROOT), "anti_entropy"),
    (Same(ROOT), "anti_entropy"),
    (WantNodes([b""]), "anti_entropy"),
    (Nodes(), "anti_entropy"),
    (Items(records=[QUIET], sync=True), "anti_entropy"),
    (Items(records=[QUIET]), "refresh"),
    (Items(records=[QUIET, ACCUSING]), "flood"),
    (Items(records=[QUIET], removals=[b"removal"]), "flood"),
    (Items(certificates=[b"certificate"]), "flood"),
]


@pytest.mark.parametrize(("message", "kind"), MESSAGES)
def test_the_engine_and_the_simulation_count_a_message_as_the_same(message: Message, kind: str) -> None:
    assert traffic_class(message) == kind
    by_frame = simulated.Traffic()
    by_frame.count(encode(message), 10)
    assert by_frame.bytes == {kind: 10}


def test_what_some_send_is_what_others_receive() -> None:
    simulation = Simulation(1, 5, 0)
    simulation.start()
    simulation.run_for(30.0)
    engines = [node.engine for node in simulation.nodes.values() if node.engine is not None]
    assert len(engines) == 5
    for kind in CLASSES:
        sent, received = (sum(getattr(e, way).frames[kind] for e in engines) for way in ("sent", "received"))
        assert sent >= received >= 0.95 * sent, kind
        assert received, f"no {kind} within half a minute"
    for engine in engines:
        assert engine.equal is not None and engine.equal >= engine.changed, "a calm mesh agrees"
