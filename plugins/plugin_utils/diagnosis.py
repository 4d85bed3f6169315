# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What mesh_doctor found on all hosts, as one table for people."""

from __future__ import annotations

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.report import Hosts, reason, table

HEAD = ("HOST", "SEVERITY", "ID", "MESH", "PEER", "WHAT")


def diagnosis(hosts: Hosts) -> str:
    """One text from each host's answer; None stands for a host that gave none."""
    found = [(host, each) for host, answer in hosts.items() for each in (answer or {}).get("findings", [])]
    found.sort(key=lambda pair: pair[1]["severity"] != "error")
    rows = [
        [host, *(str(each.get(key) or "-") for key in ("severity", "id", "mesh", "peer", "what"))]
        for host, each in found
    ]
    fixes = dict.fromkeys("%s: %s" % (each["id"], each["fix"]) for _host, each in found)
    skipped = [
        "%s: not looked at: %s: %s" % (host, each["check"], each["why"])
        for host, answer in hosts.items()
        for each in (answer or {}).get("skipped", [])
    ]
    silent = ["%s: %s" % (host, reason(answer)) for host, answer in hosts.items() if "findings" not in (answer or {})]
    first = table(HEAD, rows) if rows else ("" if silent else "nothing is wrong")
    parts = [first, "\n".join(fixes), "\n".join(silent), "\n".join(skipped)]
    return "\n\n".join(part for part in parts if part)


def errors(hosts: Hosts) -> list[str]:
    """Every error, and every host that could not be asked, as C(host: what)."""
    return [
        "%s: %s" % (host, what)
        for host, answer in hosts.items()
        for what in (
            [each["id"] for each in answer["findings"] if each["severity"] == "error"]
            if answer and "findings" in answer
            else [reason(answer)]
        )
    ]
