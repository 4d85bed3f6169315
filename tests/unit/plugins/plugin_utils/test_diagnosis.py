# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was found on all hosts, as one table."""

from __future__ import annotations

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.diagnosis import diagnosis, errors


def finding(name, severity="error", mesh="prod", peer=None, what="it is so", fix="mend it"):
    return {"id": name, "severity": severity, "mesh": mesh, "peer": peer, "what": what, "fix": fix}


def answer(*findings, skipped=()):
    return {"healthy": True, "node": "x", "findings": list(findings), "skipped": list(skipped)}


def test_one_table_of_all_hosts_errors_first_and_each_remedy_once():
    hosts = {
        "a": answer(finding("peer.down", "warning", peer="c"), finding("agent.problem", "warning", mesh=None)),
        "b": answer(
            finding("mtu.too-large", peer="a", fix="set mtu"), finding("mtu.too-large", peer="c", fix="set mtu")
        ),
    }
    assert diagnosis(hosts).splitlines() == [
        "HOST  SEVERITY  ID             MESH  PEER  WHAT",
        "b     error     mtu.too-large  prod  a     it is so",
        "b     error     mtu.too-large  prod  c     it is so",
        "a     warning   peer.down      prod  c     it is so",
        "a     warning   agent.problem  -     -     it is so",
        "",
        "mtu.too-large: set mtu",
        "peer.down: mend it",
        "agent.problem: mend it",
    ]
    assert errors(hosts) == ["b: mtu.too-large", "b: mtu.too-large"]


def test_who_was_not_asked_and_what_was_not_looked_at_come_last():
    skipped = {"check": "firewall", "why": "only root may read it"}
    hosts = {"a": answer(skipped=[skipped]), "b": {"failed": True, "msg": "no agent\nreally"}, "c": None}
    assert diagnosis(hosts).splitlines() == [
        "b: no agent",
        "c: not reached",
        "",
        "a: not looked at: firewall: only root may read it",
    ]
    assert errors(hosts) == ["b: no agent", "c: not reached"]


def test_healthy_hosts():
    hosts = {"a": answer(), "b": answer()}
    assert diagnosis(hosts) == "nothing is wrong"
    assert errors(hosts) == []
