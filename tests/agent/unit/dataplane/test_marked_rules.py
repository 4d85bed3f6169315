"""Which rules in the host's own firewall are the agent's, and what becomes of them."""

from __future__ import annotations

from smegmesh.dataplane.opening import Marked, Port, marked, rule_changes

CHAIN = "inet filter input"
OURS = [("smegmesh udp 51820", 5), ("smegmesh tcp 4000", 6)]
OTHERS = [
    "smegmeshes",
    "smegmesh",
    "smegmesh metrics",
    "smegmesh tcp 9100 for prometheus",
    "smegmesh udp",
    "my smegmesh udp 1",
]


def test_a_rule_of_somebody_else_stays_whatever_its_comment_begins_with() -> None:
    rules = [{"handle": 4}, *({"handle": handle, "comment": comment} for comment, handle in OURS)]
    rules += [{"handle": 10 + index, "comment": comment} for index, comment in enumerate(OTHERS)]
    held = marked({"nftables": [{"metainfo": {}}, *({"rule": rule} for rule in rules)]})
    assert held == [Marked(comment, handle) for comment, handle in OURS]
    assert list(rule_changes(CHAIN, [Port("udp", 51820)], held)) == ["delete rule inet filter input handle 6"]
