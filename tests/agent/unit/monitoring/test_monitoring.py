"""The alerts and the dashboard that come along: Prometheus takes them, and they ask for what agents tell."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smegmesh.control.exposition import Histogram
from smegmesh.daemon.metrics import AgentReading, MeshReading, Process, families
from smegmesh.dataplane.plane import DeviceState, PeerState
from smegmesh.gossip.traffic import Traffic
from smegmesh.gossip.view import View

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
ALERTS = ROOT / "docs" / "monitoring" / "alerts.yml"
DASHBOARD = ROOT / "docs" / "monitoring" / "dashboard.json"
NAME = re.compile(r"\b(?:smegmesh|process)_[a-z_]+\b")


def told() -> set[str]:
    """The names of all samples there are."""
    device = DeviceState(bytes(32), 1, 0, {bytes(32): PeerState(None, frozenset(), 0, handshake=1.0)})
    view = View("prod", bytes(32), {}, None, bytes(32))
    histogram = Histogram((1.0,))
    mesh = MeshReading(view, {}, True, 0, Traffic(), Traffic(), {}, 0, 0, 0, 0, histogram, device)
    agent = AgentReading("1", [], {"refused.tls": 1}, [mesh], Process(0, 0, 0, 0), 2.0)
    return {family.name + each.suffix for family in families(agent, per_peer=True) for each in family.samples}


def alert_queries() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    """With what Grafana puts in."""

    def targets(panel: dict[str, Any]) -> Iterator[str]:
        yield from (target["expr"] for target in panel.get("targets", []))

    dashboard = json.loads(DASHBOARD.read_text())
    found = [expr for panel in dashboard["panels"] for expr in targets(panel)]
    for variable, value in {"$mesh": ".*", "$instance": ".*", "$__rate_interval": "5m"}.items():
        found = [expr.replace(variable, value) for expr in found]
    assert not [expr for expr in found if "$" in expr]
    return found


def test_what_they_ask_for_is_told() -> None:
    for query in (*alert_queries(), *dashboard_queries()):
        names = set(NAME.findall(query.replace("smegmesh_(certificate|authority)_expiry", "smegmesh_authority_expiry")))
        assert names <= told(), query


def test_prometheus_takes_the_alerts(promtool: str) -> None:
    check(promtool, "rules", ALERTS)


def test_alerts_come_when_they_should(promtool: str) -> None:
    tested = subprocess.run([promtool, "test", "rules", HERE / "alerts.test.yml"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_tested() -> None:
    tests = yaml.safe_load((HERE / "alerts.test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == alerts


def test_prometheus_takes_what_the_dashboard_asks(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(dashboard_queries())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    check(promtool, "rules", file)


def test_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def check(promtool: str, what: str, file: Path) -> None:
    checked = subprocess.run([promtool, "check", what, file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
