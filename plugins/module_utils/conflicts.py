# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent would take on this host and something else has: interfaces, ports, routes.

Nothing is changed here. The agent refuses the same when it runs; then it is installed, and the meshes are declared.
"""

from __future__ import annotations

import configparser
import glob
import ipaddress
import os
import re

from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, host, sockets

# Of the agent's routes, see dataplane/system.py of its package.
PROTOCOL = "87"
FIRST_PORT = 51820  # it takes the lowest free one from here on, see declaration/choose.py
SYSTEM_LINKS = "/sys/class/net"

# Who makes interfaces: files, what to look for in them, how that is told.
WG_QUICK = "/etc/wireguard/%s.conf"
IFCFG = ("/etc/sysconfig/network-scripts/ifcfg-%s",)
INTERFACES = ("/etc/network/interfaces", "/etc/network/interfaces.d/*")
NETDEVS = tuple(top + "/systemd/network/*.netdev" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
CONNECTIONS = tuple(
    top + "/NetworkManager/system-connections/*.nmconnection" for top in ("/etc", "/run", "/usr/lib", "/usr/local/lib")
)


class Own:
    """What of the host is the agent's: names of interfaces, and the UDP ports it names while it runs."""

    def __init__(self, running, interfaces, ports):
        self.running = running
        self.interfaces = interfaces
        self.ports = ports


def find(module, claims, tcp):
    """All conflicts, each in one sentence: what, where, what to do.

    C(claims): for each mesh C(mesh), C(interface), C(port) (None: chosen), C(prefix), C(routes).
    C(tcp): for each listener C(port), C(address), and the C(setting) that says so.
    """
    routes = _routes(module)
    own = _own(module, routes)
    chosen, taken = choose_ports(claims, own), sockets.bound()
    found = []
    for claim in claims:
        found.extend(interface(module, claim, own))
        found.extend(udp_port(claim, chosen, own, taken))
        found.extend(route(claim, own, routes))
    for listener in tcp:
        found.extend(tcp_port(listener, taken))
    return found


def _own(module, routes):
    # Where it does not run, its interfaces are those that its routes lead to.
    interfaces = {item.get("dev") for item in routes if str(item.get("protocol")) == PROTOCOL}
    try:
        meshes = agent.smegctl(module, ["status"])["meshes"] if agent.installed() else None
    except agent.AgentError:
        meshes = None
    for mesh in meshes or []:
        interfaces.add(mesh.get("interface"))
    return Own(meshes is not None, interfaces, {mesh.get("port"): mesh["mesh"] for mesh in meshes or []})


# --- interfaces -----------------------------------------------------------------------------------


def interface(module, claim, own):
    name = claim["interface"]
    what = "interface %s of mesh %s" % (name, claim["mesh"])
    fix = "declare another `interface` for mesh %s, or " % claim["mesh"]
    found = ["%s is made by %s: %sremove that" % (what, maker, fix) for maker in _makers(name)]
    if not found and os.path.exists(os.path.join(SYSTEM_LINKS, name)) and name not in own.interfaces:
        found.append(
            "%s: there is one already, %s that the agent did not make: %stake it away (`ip link delete %s`) "
            "if nobody needs it" % (what, _kind(module, name), fix, name)
        )
    return found


def _makers(name):
    """Who would make an interface of that name, with the file that says so."""
    quick = WG_QUICK % name
    if os.path.exists(quick):
        yield "wg-quick (%s)" % quick
    for path in _matching(NETDEVS):
        if _setting(path, "NetDev", "name") == name:
            yield "systemd-networkd (%s)" % path
    for path in _matching(CONNECTIONS):
        if _setting(path, "connection", "interface-name") == name:
            yield "NetworkManager (%s)" % path
    for path in IFCFG:
        if os.path.exists(path % name):
            yield "NetworkManager or network-scripts (%s)" % (path % name)
    for path in _matching(INTERFACES):
        if re.search(r"^\s*iface\s+%s\s" % re.escape(name), _text(path), re.MULTILINE):
            yield "ifupdown (%s)" % path


def _matching(patterns):
    """Files by patterns; of the same name, the first counts, as systemd has it (systemd.unit(5))."""
    seen = set()
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):
            if os.path.basename(path) not in seen:
                seen.add(os.path.basename(path))
                yield path


def _setting(path, section, key):
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True, delimiters=("=",))
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        return None
    return (parser.get(section, key, fallback=None) or "").strip()


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _kind(module, name):
    links = host.ip_json(module, ["-details", "link", "show", "dev", name])
    kind = links[0].get("linkinfo", {}).get("info_kind") if links else None
    return "a link of kind %s" % kind if kind else "a link"


# --- ports ----------------------------------------------------------------------------------------


def udp_port(claim, chosen, own, taken):
    """Of WireGuard, which binds on all addresses. C(chosen): see C(choose_ports)."""
    port, note = claim["port"], ""
    if port is None and claim["mesh"] in chosen:
        port, note = chosen[claim["mesh"]], ", which the agent would choose,"
    for user in taken:
        if user.protocol != "udp" or user.port != port or user.of_agent or port in own.ports:
            continue
        process = user.process()
        # The kernel does not say whose interface has it. Where the agent does not either, ours may.
        if process is None and own.interfaces and not own.running:
            continue
        return [
            "UDP port %d of mesh %s%s is in use by %s: declare another `port`, or stop its user (ss -lunp)"
            % (port, claim["mesh"], note, process or "the kernel, perhaps for another WireGuard interface")
        ]
    return []


def choose_ports(claims, own):
    """What an agent without a past chooses, by mesh. Of any other it is in its state, and its own to judge."""
    if own.running or os.path.exists(agent.STATE + "/state.db"):
        return {}
    declared = {claim["port"] for claim in claims}
    free = (port for port in range(FIRST_PORT, 65536) if port not in declared)
    return {mesh: next(free) for mesh in sorted(claim["mesh"] for claim in claims if claim["port"] is None)}


def tcp_port(listener, taken):
    """Of what the agent itself listens on."""
    for user in taken:
        if user.protocol != "tcp" or user.port != listener["port"] or user.of_agent:
            continue
        if sockets.overlap(user.address, sockets.plain(ipaddress.ip_address(listener["address"]))):
            return [
                "TCP port %d (%s) is in use by %s: set another %s, or stop what listens there (ss -ltnp)"
                % (listener["port"], listener["setting"], user.process() or "the kernel", listener["setting"])
            ]
    return []


# --- routes ---------------------------------------------------------------------------------------


def _routes(module):
    """Those of the main table that are no part of the kernel's own housekeeping."""
    return [item for item in host.ip_json(module, ["-6", "route", "show", "table", "main"]) if "dst" in item]


def route(claim, own, routes):
    """Routes of others within the mesh's prefix, and those of the very prefixes that it accepts from the mesh."""
    mesh = ipaddress.ip_network(claim["prefix"])
    accepted = {ipaddress.ip_network(prefix) for prefix in claim["routes"]}
    found = []
    for item in routes:
        if str(item.get("protocol")) == PROTOCOL or item.get("dev") in own.interfaces | {claim["interface"]}:
            continue
        try:
            network = ipaddress.ip_network(item["dst"])
        except ValueError:  # default
            continue
        where = "dev %s, proto %s" % (item.get("dev", "none"), item.get("protocol", "unknown"))
        if network.subnet_of(mesh):
            found.append(
                "%s of mesh %s is already routed by something else (%s): remove that route "
                "(`ip -6 route show %s`), or name another mesh" % (network, claim["mesh"], where, network)
            )
        elif network in accepted:
            found.append(
                "%s, which mesh %s accepts from others, is already routed by something else (%s): take it out of "
                "`accept_routes`, or of `allowed_ips` of the static peer that it is behind, or remove that route "
                "(`ip -6 route show %s`)" % (network, claim["mesh"], where, network)
            )
    return found
