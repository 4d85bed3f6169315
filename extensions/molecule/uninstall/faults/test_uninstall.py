"""Every trace is gone: of the agent, of its interfaces, of what it did to routes, rules, firewall and sysctls."""

from __future__ import annotations

import pytest
from hosts import play, run, seconds_until, via

HOSTS = ("p1", "gw", "o1", "c1")
TRACES = """
ls -d /etc/smegmesh /opt/smegmesh /var/lib/smegmesh /run/smegmesh /run/wireguard 2>/dev/null
find /etc/systemd /usr/lib/systemd /etc/sysctl.d /etc/tmpfiles.d /usr/local -name '*smeg*'
systemctl list-units --all --plain --no-legend 'smeg*'
getent passwd smegmesh; getent group smegmesh
ip -o link show | cut -d: -f2 | cut -d@ -f1
ip -6 rule; ip -4 rule; ip -6 route show table all | grep -v -e expires -e 198.18 -e 2001:db8 -e fe80 -e ff00
nft list tables | grep -v -e lab -e nat
sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra
ps -eo comm= | grep -E 'smeg|wireguard' || true
"""


def traces(host: str) -> list[str]:
    return sorted(run(host, "sh", "-c", TRACES).splitlines())


@pytest.mark.timeout(400)
def test_nothing_is_left() -> None:
    # Each host was in use: the bridge forwards, the peer sends its default route into the mesh.
    seconds_until(lambda: via("p1", "trial", "::/0") == "gw" and via("o1", "office", "trial") == "gw", within=30)
    assert "smeg" in "".join(traces("gw")) and "forwarding = 1" in "".join(traces("gw"))
    foretold = play("uninstall", "--check")
    assert "changed=1" in foretold and "smeg" in "".join(traces("gw"))
    play("uninstall")
    found = {host: traces(host) for host in HOSTS}

    play("lab", "--limit", "o1", "-e", "smegmesh_lab_state=absent")
    play("lab", "--limit", "o1")
    untouched = traces("o1")
    assert found == dict.fromkeys(HOSTS, untouched), "what a host has that never had the agent"
    assert "changed=0" in play("uninstall", "--limit", "p1")
