# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's own firewall: who manages it, and which rules in it are the agent's."""

from __future__ import annotations

import json
import re

UFW = "/etc/ufw/ufw.conf"
# The comments of the agent's rules, see dataplane/opening.py of its package.
MARK = re.compile(r"smegmesh (udp|tcp) [0-9]+")


def problems(module, chains, ports):
    """Why the agent's C(ports), such as C(tcp 4000), cannot be opened in these chains; each with what to do."""
    if not chains:
        return []
    if module.run_command(["systemctl", "--quiet", "is-active", "firewalld.service"])[0] == 0:
        return [_managed("firewalld", "firewall-cmd --permanent --add-port=%s", "; then firewall-cmd --reload", ports)]
    if _has_ufw():
        return [_managed("ufw", "ufw allow %s", "", ports)]
    there = input_chains(module)
    missing = [chain for chain in chains if chain not in there]
    if not missing or not there:
        return []
    return [
        "smegmesh_firewall_chains: there is no chain `%s` that filters what comes in: name another, of %s"
        % (missing[0], ", ".join(there))
    ]


def _managed(name, command, then, ports):
    commands = ", ".join(command % ("%s/%s" % tuple(reversed(port.split()))) for port in ports)
    return (
        "smegmesh_open_firewall: %s manages the firewall of this host, and rules beside its own would not last: "
        "open the ports with it (%s%s) and set smegmesh_open_firewall: false" % (name, commands, then)
    )


def _has_ufw():
    try:
        with open(UFW, encoding="utf-8") as file:
            return re.search(r"^\s*ENABLED\s*=\s*[\"']?yes", file.read(), re.MULTILINE | re.IGNORECASE) is not None
    except FileNotFoundError:
        return False


def input_chains(module):
    """The base chains that filter what comes in, as C(inet filter input)."""
    return [
        "%(family)s %(table)s %(name)s" % chain
        for chain in _listed(module, "chain", ["list", "chains"])
        if chain.get("hook") == "input" and chain.get("type") == "filter" and chain["family"] in ("inet", "ip", "ip6")
    ]


def marked_rules(module):
    """The agent's rules in chains of others: chain, comment, and the number by which nft knows the rule."""
    found = []
    for chain in input_chains(module):
        for rule in _listed(module, "rule", ["-t", "list", "chain"] + chain.split()):
            if MARK.fullmatch(rule.get("comment", "")):
                found.append((chain, rule["comment"], rule["handle"]))
    return found


def remove_marked(module):
    """Take them out."""
    for chain, _comment, handle in marked_rules(module):
        module.run_command([_nft(module), "delete", "rule"] + chain.split() + ["handle", str(handle)])


def _listed(module, kind, arguments):
    nft = _nft(module)
    if not nft:
        return []
    code, out, _err = module.run_command([nft, "-j"] + arguments)
    listed = json.loads(out).get("nftables", []) if code == 0 and out.strip() else []
    return [item[kind] for item in listed if kind in item]


def _nft(module):
    return module.get_bin_path("nft", opt_dirs=["/usr/sbin", "/sbin"])
