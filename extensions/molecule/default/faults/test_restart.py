"""The agent may go; the packets may not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from lab import Host, seconds_until


@pytest.mark.parametrize("how", [["systemctl", "restart", "smegd"], ["systemctl", "kill", "-s", "KILL", "smegd"]])
def test_no_ping_is_lost_while_an_agent_is_replaced(how: list[str], hosts: dict[str, Host]) -> None:
    home = hosts[hosts["c1"].members()["c1"]["home"]]
    other = next(host for name, host in hosts.items() if name.startswith("p") and host is not home)
    pairs = [(other, home), (home, hosts["c1"]), (other, hosts["c1"]), (hosts["c2"], hosts["c1"])]
    before = home.agent_process()
    with ThreadPoolExecutor(len(pairs)) as pool:
        pings = [pool.submit(source.lost_pings, target, seconds=10) for source, target in pairs]
        home.run(*how)
        lost = {pair: ping.result() for pair, ping in zip(pairs, pings, strict=True)}
    assert home.agent_process() not in ("0", before)
    assert not any(lost.values()), lost
    print(f"{' '.join(how)} on {home}: none of {len(pairs)} times 100 pings lost")
    seconds_until(lambda: len(home.members()) == 5, within=10)


@pytest.mark.parametrize("how", [["restart", "smegd"], ["start", "smegmesh-wg@other0"]])
def test_a_wireguard_go_of_somebody_else_outlives_the_start_of_a_unit(how: list[str], hosts: dict[str, Host]) -> None:
    host = hosts["p1"]
    if not host.run("sh", "-c", "command -v wireguard-go || true"):
        pytest.skip("the host has the kernel's WireGuard alone")
    host.run("chown", "root:root", "/run/wireguard")  # as it is before the role comes
    host.run("systemd-run", "--unit=theirs", "wireguard-go", "-f", "theirs0")
    try:
        seconds_until(lambda: "theirs0.sock" in host.run("ls", "/run/wireguard"), within=10)
        host.run("systemctl", *how)
        seconds_until(lambda: host.run("stat", "-c", "%U", "/run/wireguard").strip() == "smegmesh", within=10)
        # It ends a moment after something about its socket changed, which a second connection would find.
        host.run("wg", "set", "theirs0", "listen-port", "0")
        assert host.run("systemctl", "show", "--property", "ActiveState", "--value", "theirs").strip() == "active"
    finally:
        host.run("sh", "-c", "systemctl stop theirs smegmesh-wg@other0 || true")
