"""The inventory plugin and the lookups on a living mesh, by HTTPS with an operator certificate.

The controller is in no mesh. So it reaches overlay addresses by way of a member, as one does from outside.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hosts import kill, mesh, seconds_until, start

LAB = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
AUTHORITY = LAB / "authorities" / "default"
JUMP = "p1"
SOURCE = f"""
plugin: smegmesh.wireguard.mesh_members
mesh: trial
endpoints: ["https://198.18.7.12:4080", "https://198.18.7.13:4080"]
ca: {AUTHORITY}/authority.pem
client_cert: {AUTHORITY}/operators/controller.pem
client_key: {AUTHORITY}/operators/controller.key
timeout: 3
strict: true
filters:
  - exclude: smegmesh_member.liveness == 'down'
keyed_groups:
  - {{prefix: role, key: smegmesh_member.role}}
compose:
  ansible_user: "'admin'"
  ansible_ssh_common_args: >-
    '-F {LAB}/lab/ssh_config -o ProxyCommand="ssh -F {LAB}/lab/ssh_config -W [%h]:22 {JUMP}"'
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "trial.smegmesh.yml"
    path.write_text(SOURCE)
    return path


def ansible(program: str, *arguments: str) -> str:
    answer = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def listed(source: Path) -> dict:
    """The inventory, without the mark by which Ansible says that a value came from outside."""

    def bare(value: dict) -> object:
        return value.get("__ansible_unsafe", value)

    return json.loads(ansible("ansible-inventory", "-i", str(source), "--list"), object_hook=bare)


def test_the_members_are_the_hosts(source: Path) -> None:
    found = listed(source)
    assert set(found["smegmesh_live_trial"]["hosts"]) == {"p1", "p2", "p3", "c1"}
    assert set(found["smegmesh_live_role_client"]["hosts"]) == {"c1"}
    variables = found["_meta"]["hostvars"]
    assert {name: variables[name]["ansible_host"] for name in variables} == {
        name: mesh(name, "trial")["address"] for name in ("p1", "p2", "p3", "c1")
    }
    assert variables["p1"]["smegmesh_live"]["trial"]["node"] == "p2", "the first endpoint answered"


def test_a_play_goes_to_them_over_the_overlay(source: Path) -> None:
    """Also to the client, which nothing reaches in the underlay."""
    said = ansible("ansible", "-i", str(source), "smegmesh_live_trial", "-o", "-m", "command", "-a", "hostname")
    assert {line.split()[0] for line in said.splitlines() if "| CHANGED" in line} == {"p1", "p2", "p3", "c1"}
    facts = ansible("ansible", "-i", str(source), "c1", "-m", "command", "-a", "sh -c 'echo $SSH_CONNECTION'", "-o")
    assert mesh("c1", "trial")["address"] in facts


def test_lookups_ask_the_same_agents(source: Path, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(
        """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ lookup('smegmesh.wireguard.mesh_address', 'c1', mesh='trial') }}
          {{ query('smegmesh.wireguard.mesh_query', 'members.trial[?role==`client`].name') | first }}"
"""
    )
    options = yaml_options()
    said = ansible("ansible-playbook", "-i", "localhost,", str(play), *options)
    assert mesh("c1", "trial")["address"] in said and "c1" in said


def yaml_options() -> list[str]:
    found = {
        "endpoints": ["https://198.18.7.12:4080"],
        "ca": f"{AUTHORITY}/authority.pem",
        "client_cert": f"{AUTHORITY}/operators/controller.pem",
        "client_key": f"{AUTHORITY}/operators/controller.key",
    }
    return ["-e", json.dumps({f"smegmesh_query_{key}": value for key, value in found.items()})]


def test_the_next_agent_is_asked_and_who_died_is_no_host(source: Path) -> None:
    kill("p2")
    try:
        seconds_until(lambda: mesh("p3", "trial")["members"]["down"] == 1, within=30)
        found = listed(source)
        assert set(found["smegmesh_live_trial"]["hosts"]) == {"p1", "p3", "c1"}
        assert found["_meta"]["hostvars"]["p1"]["smegmesh_live"]["trial"]["node"] == "p3"
    finally:
        start("p2")
    took = seconds_until(lambda: "p2" in listed(source)["smegmesh_live_trial"]["hosts"], within=60)
    print(f"a host that was booted is in the inventory again after {took:.1f} s")
