"""A sixth host joins by a run on it alone, is revoked, and leaves without a trace."""

from __future__ import annotations

import re

import pytest
from lab import Host, play, seconds_until, unreachable

# What a host has that an agent could leave behind.
TRACES = """
ls -d /etc/smegmesh /opt/smegmesh /var/lib/smegmesh /run/smegmesh 2>&1
find /etc/systemd /usr/lib/systemd /etc/sysctl.d /etc/tmpfiles.d /usr/local -name '*smeg*'
getent passwd smegmesh; getent group smegmesh
ip -o link show | cut -d: -f2
ip -6 rule; ip -4 rule; ip -6 route show table all | grep -v expires
nft list tables
sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra
ps -eo comm= | grep -E 'smeg|wireguard' || true
"""


def traces(host: Host) -> list[str]:
    return sorted(host.run("sh", "-c", TRACES).splitlines())


@pytest.mark.timeout(400)
def test_a_sixth_host(hosts: dict[str, Host]) -> None:
    sixth = Host("p4")
    everyone = [*hosts.values(), sixth]
    untouched = traces(sixth)
    agents = {host: host.agent_process() for host in hosts.values()}

    foretold = play("site", "--limit", "p4", "--check", "--diff")
    assert '+  "mesh": "trial"' in foretold
    assert traces(sixth) == untouched, "a check changed the host"

    play("site", "--limit", "p4")
    joined = seconds_until(lambda: not unreachable(everyone), within=20)
    print(f"sixth host: all six reach each other {joined:.1f} s after the run on it alone")

    recap = re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+)", play("site"), re.MULTILINE)
    assert {name: int(changed) for name, changed in recap} == dict.fromkeys(["p1", "p2", "p3", "c1", "c2", "p4"], 0)
    assert {host: host.agent_process() for host in hosts.values()} == agents, "an agent was restarted"

    play("revoke", "-e", "smegmesh_revoke=p4", "-e", "smegmesh_revoke_mesh=trial")
    gone = seconds_until(lambda: all("p4" not in host.members() for host in hosts.values()), within=10)
    print(f"sixth host: out of every list {gone:.1f} s after the run that revoked it")
    assert all(not host.reaches(sixth) for host in hosts.values())
    assert "is revoked" in sixth.run("smegctl", "status") or "revoked this node" in sixth.run("smegctl", "status")
    sixth.run("systemctl", "restart", "smegd")
    play("revoke", "-e", "smegmesh_revoke=p5", "-e", "smegmesh_revoke_mesh=trial", succeeds=False)
    assert all("p4" not in host.members() for host in hosts.values())

    play("uninstall", "--limit", "p4")
    assert traces(sixth) == untouched
