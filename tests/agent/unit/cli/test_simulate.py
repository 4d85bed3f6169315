"""`smegctl simulate`: an operator's question, and one clear answer or error."""

from __future__ import annotations

import json

import pytest

from smegmesh.cli.__main__ import main
from smegmesh.cli.simulate_options import SCENARIOS
from smegmesh.simulation.setup import Kind

_FIELDS = {
    *("nodes", "scenario", "seed", "p50_s", "p99_s", "all_s", "copies_per_node", "tx_bytes_per_node_s"),
    *("measured_s", "false_downs", "converged", "wall_s"),
}


def _json(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["simulate", "--nodes", "20", "--json", *options]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_it_knows_all_scenarios() -> None:
    assert tuple(kind.value for kind in Kind) == SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_ends_well_and_the_same_each_time(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    lasts = ("--duration", "20") if scenario in ("partition", "churn", "idle") else ()
    options = ("--scenario", scenario, "--heartbeat", "6", "--clients", "4", *lasts)
    first, second = (_json(capsys, *options) for _ in range(2))
    assert first.keys() == _FIELDS
    assert {**first, "wall_s": 0} == {**second, "wall_s": 0}
    assert first["false_downs"] == (None if scenario in ("partition", "churn") else 0)
    assert first["converged"] is True
    known = first["all_s"]
    assert scenario == "idle" or (isinstance(known, float) and known < 30)


def test_half_of_all_hosts_may_die(capsys: pytest.CaptureFixture[str]) -> None:
    answer = _json(capsys, "--scenario", "silent-crash", "--share", "0.5", "--latency-ms", "5")
    assert isinstance(answer["all_s"], float)
    assert answer["all_s"] < 20


@pytest.mark.parametrize("meshes", [2, 6])
def test_routes_between_meshes_are_right_again_soon_after_a_bridge_died(
    meshes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = _json(capsys, "--scenario", "bridge-crash", "--meshes", str(meshes), "--latency-ms", "5")
    assert isinstance(answer["all_s"], float)
    assert 1 < answer["all_s"] < 6


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--nodes", "10", "--scenario", "change"]) == 0
    output = capsys.readouterr().out
    assert "change, 10 nodes, seed 1" in output
    assert "copies of the change a node" in output


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--nodes", "1"), "--nodes"),
        (("--nodes", "70000"), "--nodes"),
        (("--clients", "19"), "--clients"),
        (("--clients", "-1"), "--clients"),
        (("--loss", "1"), "--loss"),
        (("--stalled", "-1"), "--stalled"),
        (("--share", "1"), "--share"),
        (("--latency-ms", "0"), "--latency-ms"),
        (("--duration", "0"), "--duration"),
        (("--duration", "10"), "--duration"),
        (("--share", "0.5"), "--share"),
        (("--meshes", "4"), "--meshes"),
        (("--scenario", "bridge-crash", "--meshes", "1"), "--meshes"),
        (("--scenario", "bridge-crash", "--meshes", "7"), "--nodes"),
        (("--scenario", "bridge-crash", "--stalled", "0.1"), "--stalled"),
    ],
)
def test_bad_input_is_one_error_with_what_to_do(
    options: tuple[str, ...], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--nodes", "20", "--scenario", "change", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"smegctl: {where}: ")
    assert "give" in error or "leave" in error or "it is for" in error
    assert "Traceback" not in error
