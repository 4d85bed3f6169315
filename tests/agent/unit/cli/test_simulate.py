"""`smegctl simulate`: an operator's question, and one clear answer or error."""

from __future__ import annotations

import json

import pytest

from smegmesh.cli.__main__ import main
from smegmesh.cli.simulate_options import SCENARIOS
from smegmesh.simulation.setup import Kind

_FIELDS = {
    *("nodes", "scenario", "seed", "p50_s", "p99_s", "all_s", "copies_per_node", "tx_bytes_per_node_s"),
    *("measured_s", "tunnel_bytes_per_node_s", "false_downs", "converged", "options", "wall_s"),
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
    if scenario == "churn":
        assert first["measured_s"] == pytest.approx(20 + first["all_s"])
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
    assert output.startswith("change, 10 nodes, 25 ms, seed 1: computed in ")
    assert "copies of the change a node" in output


def test_the_title_and_json_say_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--scenario", "idle", "--duration", "5", "--clients", "4", "--loss", "0.1", "--latency-ms", "5")
    assert main(["simulate", "--nodes", "20", *options]) == 0
    title = capsys.readouterr().out.partition(":")[0]
    assert title == "idle, 20 nodes, 5 ms, 4 of them clients, loss 0.1, 5 s, seed 1"
    asked = _json(capsys, *options)["options"]
    assert isinstance(asked, dict)
    assert {name: value for name, value in asked.items() if value} == {
        "clients": 4,
        "latency_ms": 5.0,
        "loss": 0.1,
        "duration": 5.0,
        "heartbeat": 60.0,
    }


def test_what_holds_tunnels_open_is_told_beside_the_gossip(capsys: pytest.CaptureFixture[str]) -> None:
    """Of 16 peers each has 15 tunnels, and of 4 clients each 2: 128 in all, each with a keepalive of 80 bytes every
    25 s, by one of its sides, and a handshake of 416 bytes at the first of them after 120 s."""
    answer = _json(capsys, "--scenario", "idle", "--duration", "5", "--clients", "4")
    assert answer["tunnel_bytes_per_node_s"] == round(128 * (80 / 25 + 416 / 125) / 20, 1)
    assert _json(capsys, "--scenario", "bridge-crash")["tunnel_bytes_per_node_s"] is None


def test_a_leader_that_hangs_is_followed_by_the_next_after_three_of_its_refreshes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the last on, which is the longest that it takes."""
    known = _json(capsys, "--scenario", "hung-leader", "--heartbeat", "10")["all_s"]
    assert isinstance(known, float)
    assert 30 <= known < 31


def test_without_standard_error_there_is_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert main(["simulate", "--nodes", "10", "--scenario", "change"]) == 0
    assert "converged" in capsys.readouterr().out


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
        (("--latency-ms", "1001"), "--latency-ms"),
        (("--seed", "-1"), "--seed"),
        (("--duration", "0"), "--duration"),
        (("--duration", "10"), "--duration"),
        (("--share", "0.5"), "--share"),
        (("--meshes", "4"), "--meshes"),
        (("--scenario", "bridge-crash", "--meshes", "1"), "--meshes"),
        (("--scenario", "bridge-crash", "--meshes", "7"), "--nodes"),
        (("--scenario", "bridge-crash", "--stalled", "0.1"), "--stalled"),
        (("--scenario", "hung-leader", "--stalled", "0.1"), "--stalled"),
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
