import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab import Host, seconds_until, unreachable


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    return {name: Host(name) for name in ("p1", "p2", "p3", "c1", "c2")}


@pytest.fixture(autouse=True)
def whole(hosts: dict[str, Host]) -> None:
    """Each test begins with a mesh in which all reach all."""
    for host in hosts.values():
        assert host.address
    seconds_until(lambda: not unreachable(hosts.values()), within=60)
