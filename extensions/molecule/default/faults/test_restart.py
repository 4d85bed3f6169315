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
