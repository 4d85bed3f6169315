"""A mistake in the inventory stops the run before any host is touched."""

from __future__ import annotations

import re
from pathlib import Path

from lab import Host, play

MISTAKE = """
all:
  hosts:
    p1: {smegmesh_overrides: {nowhere: {port: 51820}}}
    c1: {smegmesh_overrides: {trial: {alias: changed}}}
"""


def test_one_hosts_mistake_keeps_all_others_as_they_are(hosts: dict[str, Host], tmp_path: Path) -> None:
    inventory = tmp_path / "mistake.yml"
    inventory.write_text(MISTAKE)
    said = play("site", "-i", str(inventory), succeeds=False)
    changed = dict(re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", said, re.MULTILINE))
    assert set(changed.values()) == {"0"}
    assert hosts["p2"].members()["c1"]["alias"] is None
