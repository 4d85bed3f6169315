"""Whether a mesh is heard, and what is told when."""

from __future__ import annotations

from smegmesh.crdt.entry import BridgedRoute
from smegmesh.routing.announcing import COALESCE, SETTLING, Announcer
from smegmesh.routing.reach import PATIENCE, START, Reach

OFFICE, LAB, FAR = (BridgedRoute(path) for path in (("office",), ("office", "lab"), ("office", "far")))
AROUND = BridgedRoute(("office", "far", "lab"))


def test_links_that_are_made_anew_are_no_loss_of_a_mesh() -> None:
    reach = Reach(100.0)
    assert reach.connected(100.0, linked=False, others=True)  # it has only begun
    assert not reach.connected(100.0 + START, linked=False, others=True)
    assert reach.connected(120.0, linked=False, others=False)  # a mesh of one
    assert reach.connected(120.0, linked=True, others=True)
    assert reach.connected(121.0, linked=False, others=True)
    assert reach.until == 121.0 + PATIENCE
    assert not reach.connected(reach.until, linked=False, others=True)


def announcer(*told: BridgedRoute) -> Announcer:
    made = Announcer()
    made.begin("prod", told, 0.0)
    return made


def test_what_is_new_waits_for_more_and_another_way_does_too() -> None:
    made = announcer()
    assert made.update({"prod": (OFFICE,)}, 1.0, informed=True) == {}
    assert made.due == 1.0 + COALESCE
    assert made.update({"prod": (OFFICE, LAB)}, 1.05, informed=True) == {}
    assert made.due == 1.0 + COALESCE  # later news does not put it off
    assert made.update({"prod": (OFFICE, LAB)}, made.due, informed=True) == {"prod": (OFFICE, LAB)}
    assert made.update({"prod": (OFFICE, LAB)}, 2.0, informed=True) == {}
    assert made.due is None
    assert made.update({"prod": (OFFICE, AROUND)}, 3.0, informed=True) == {}


def test_what_is_gone_is_told_at_once_with_all_that_waits() -> None:
    made = announcer(OFFICE, LAB)
    assert made.update({"prod": (OFFICE, LAB, FAR)}, 9.0, informed=True) == {}
    assert made.update({"prod": (OFFICE, FAR)}, 9.01, informed=True) == {"prod": (OFFICE, FAR)}


def test_what_comes_back_before_it_was_told_is_no_news() -> None:
    made = announcer(OFFICE)
    assert made.update({"prod": (OFFICE, LAB)}, 9.0, informed=True) == {}
    assert made.update({"prod": (OFFICE,)}, 9.05, informed=True) == {}
    assert made.due is None


def test_what_was_told_before_a_start_holds_for_a_while() -> None:
    made = announcer(OFFICE, LAB)
    assert made.update({"prod": ()}, 1.0, informed=False) == {}
    assert made.due == SETTLING
    assert made.update({"prod": (OFFICE,)}, SETTLING, informed=False) == {"prod": (OFFICE,)}
    made.end("prod")
    assert made.update({}, 10.0, informed=True) == {}
