# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports of this host that are bound, and by whom (proc_pid_net(5))."""

from __future__ import annotations

import glob
import ipaddress
import os
import pwd
import sys

from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent

TABLES = (("udp", "/proc/net/udp"), ("udp", "/proc/net/udp6"), ("tcp", "/proc/net/tcp"), ("tcp", "/proc/net/tcp6"))
# A UDP socket that is connected to somebody is gone in a moment; of TCP, those that listen.
WAITING = {"udp": "07", "tcp": "0A"}


class Bound:
    """A socket that waits for packets or connections."""

    def __init__(self, protocol, address, port, uid, inode):
        self.protocol = protocol
        self.address = address
        self.port = port
        self.uid = uid
        self.inode = inode

    @property
    def of_agent(self):
        """Whether the agent's user made it: the agent, its interfaces in the kernel, its devices in user space."""
        try:
            return self.uid == pwd.getpwnam(agent.USER).pw_uid
        except KeyError:
            return False

    def process(self):
        """Who has it, for people; None for a socket of the kernel, such as WireGuard's."""
        for link in glob.glob("/proc/[0-9]*/fd/*"):
            try:
                if os.readlink(link) != "socket:[%d]" % self.inode:
                    continue
                pid = link.split("/")[2]
                with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
                    return "%s (pid %s)" % (file.read().strip(), pid)
            except OSError:  # it has ended meanwhile
                continue
        return None


def bound():
    """All of them."""
    found = []
    for protocol, path in TABLES:
        try:
            with open(path, encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for fields in map(str.split, lines):
            if fields[3] == WAITING[protocol]:
                address, port = fields[1].split(":")
                found.append(Bound(protocol, _address(address), int(port, 16), int(fields[7]), int(fields[9])))
    return found


def overlap(one, other):
    """Whether two listeners on one port are in each other's way; one on all addresses of IPv6 takes IPv4, too."""
    if one.version != other.version:
        return any(address.version == 6 and address.is_unspecified for address in (one, other))
    return one.is_unspecified or other.is_unspecified or one == other


def _address(text):
    """From words of 32 bits in the machine's own order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return plain(ipaddress.ip_address(raw))


def plain(address):
    """An IPv4 address that is written as IPv6 as what it is."""
    return getattr(address, "ipv4_mapped", None) or address
