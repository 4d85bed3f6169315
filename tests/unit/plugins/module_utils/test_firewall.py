# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose the host's firewall is, and which rules in it are the agent's."""

from __future__ import annotations

import json

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import firewall

PORTS = ["tcp 4000", "udp 51820"]


def chain(family, table, name, hook, kind="filter"):
    return {"chain": {"family": family, "table": table, "name": name, "hook": hook, "type": kind, "policy": "drop"}}


CHAINS = [
    {"metainfo": {}},
    chain("inet", "filter", "input", "input"),
    chain("inet", "filter", "forward", "forward"),
    chain("ip", "nat", "INPUT", "input", "nat"),
    chain("netdev", "x", "input", "input"),
    {"chain": {"family": "inet", "table": "filter", "name": "services"}},
]
RULES = [
    {"rule": {"handle": 4, "expr": []}},
    {"rule": {"handle": 5, "comment": "smegmesh udp 51820", "expr": []}},
    {"rule": {"handle": 6, "comment": "smegmeshes", "expr": []}},
    {"rule": {"handle": 7, "comment": "smegmesh metrics for prometheus", "expr": []}},
    {"rule": {"handle": 8, "comment": "smegmesh tcp 9100 for prometheus", "expr": []}},
]


class Module:
    """As much of AnsibleModule as is asked for, on a host with such an nftables."""

    def __init__(self, chains=(), firewalld=False, nft=True):
        self.chains = list(chains)
        self.firewalld = firewalld
        self.nft = nft
        self.done = []

    def get_bin_path(self, name, **_options):
        return "/sbin/" + name if self.nft else None

    def run_command(self, command, **_options):
        if command[0] == "systemctl":
            return (0 if self.firewalld else 3), "", ""
        assert command[0] == "/sbin/nft"
        if "delete" in command:
            self.done.append(command[1:])
            return 0, "", ""
        return 0, json.dumps({"nftables": self.chains if command[-1] == "chains" else RULES}), ""


@pytest.fixture(name="ufw", autouse=True)
def fixture_ufw(tmp_path, monkeypatch):
    path = tmp_path / "ufw.conf"
    monkeypatch.setattr(firewall, "UFW", str(path))
    return path


def test_a_chain_that_is_there_or_a_host_without_any():
    assert firewall.problems(Module(CHAINS), ["inet filter input"], PORTS) == []
    assert firewall.problems(Module(), ["inet filter input"], PORTS) == []
    assert firewall.problems(Module(nft=False), ["inet filter input"], PORTS) == []
    assert firewall.problems(Module(firewalld=True), [], PORTS) == [], "nothing is asked for"


def test_a_chain_that_is_none_of_them():
    (found,) = firewall.problems(Module(CHAINS), ["inet filter input", "inet filter services"], PORTS)
    assert "no chain `inet filter services` that filters what comes in: name another, of inet filter input" in found


def test_firewalld_and_ufw_are_left_to_themselves(ufw):
    (found,) = firewall.problems(Module(CHAINS, firewalld=True), ["inet filter input"], PORTS)
    assert "firewalld manages the firewall of this host" in found
    assert "--add-port=4000/tcp, firewall-cmd --permanent --add-port=51820/udp; then firewall-cmd --reload" in found
    ufw.write_text("# x\nENABLED=no\n")
    assert firewall.problems(Module(CHAINS), ["inet filter input"], PORTS) == []
    ufw.write_text("LOGLEVEL=low\nENABLED=yes\n")
    (found,) = firewall.problems(Module(CHAINS), ["inet filter input"], PORTS)
    assert "ufw manages" in found and "(ufw allow 4000/tcp, ufw allow 51820/udp)" in found


def test_the_agents_rules_alone_are_removed():
    module = Module(CHAINS)
    assert firewall.marked_rules(module) == [("inet filter input", "smegmesh udp 51820", 5)]
    firewall.remove_marked(module)
    assert module.done == [["delete", "rule", "inet", "filter", "input", "handle", "5"]]
