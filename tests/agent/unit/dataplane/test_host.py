"""What the host is asked besides WireGuard: sysctls, the firewalls of others, probes, the choice of a plane."""

from __future__ import annotations

from pathlib import Path

import pytest

from smegmesh.dataplane.firewall import find_drops
from smegmesh.dataplane.forwarding import enable_forwarding, restore_forwarding
from smegmesh.dataplane.memory import MemoryPlane
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.probe import Prober, decode_reply, encode_echo
from smegmesh.dataplane.select import choose_plane
from smegmesh.dataplane.system import mesh_mtu
from smegmesh.dataplane.userspace import UserspacePlane


class NoLauncher:
    def start(self, device: str) -> None:
        raise AssertionError(device)

    stop = start


@pytest.fixture
def sysctls(tmp_path: Path) -> Path:
    """A host with a SLAAC interface, one that ignores routers, and one that is set up already."""
    for interface, accept in {"all": "1", "default": "1", "eth0": "1", "eth1.7": "0", "eth2": "2"}.items():
        directory = tmp_path / "net/ipv6/conf" / interface
        directory.mkdir(parents=True)
        (directory / "accept_ra").write_text(f"{accept}\n")
        (directory / "forwarding").write_text("0\n")
    return tmp_path


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}


def test_slaac_interfaces_keep_listening_when_forwarding_goes_on_and_off(sysctls: Path) -> None:
    at_first = contents(sysctls)
    before = enable_forwarding(sysctls)
    assert before == {
        "net/ipv6/conf/default/accept_ra": "1",
        "net/ipv6/conf/eth0/accept_ra": "1",
        "net/ipv6/conf/all/forwarding": "0",
    }
    assert list(before)[-1] == "net/ipv6/conf/all/forwarding", "the last thing to change"
    changed = {name for name, value in contents(sysctls).items() if at_first[name] != value}
    assert changed == set(before)
    assert enable_forwarding(sysctls) == {}
    restore_forwarding(before, sysctls)
    assert contents(sysctls) == at_first


def test_what_somebody_else_changed_since_is_left(sysctls: Path) -> None:
    before = enable_forwarding(sysctls)
    (sysctls / "net/ipv6/conf/eth0/accept_ra").write_text("0\n")
    (sysctls / "net/ipv6/conf/default/accept_ra").unlink()
    restore_forwarding(before, sysctls)
    assert contents(sysctls)["net/ipv6/conf/eth0/accept_ra"] == "0"
    assert contents(sysctls)["net/ipv6/conf/all/forwarding"] == "0"


def test_a_sysctl_that_cannot_be_written_leaves_all_as_before(sysctls: Path) -> None:
    forwarding = sysctls / "net/ipv6/conf/all/forwarding"
    forwarding.unlink()
    forwarding.symlink_to("/sys/class/net/lo/addr_assign_type")  # reads 0, and nobody may write it
    at_first = contents(sysctls)
    with pytest.raises(PlaneError, match=r"sysctl net\.ipv6\.conf\.all\.forwarding cannot be set to 1"):
        enable_forwarding(sysctls)
    assert contents(sysctls) == at_first


def test_the_mtu_leaves_room_for_the_tunnel() -> None:
    assert mesh_mtu(1500) == 1420
    assert mesh_mtu(9000) == 8920
    assert mesh_mtu(1300) == 1280


def test_chains_of_others_that_drop_are_named() -> None:
    def chain(family: str, table: str, name: str, **more: str) -> dict[str, dict[str, str]]:
        return {"chain": {"family": family, "table": table, "name": name, **more}}

    listing = {
        "nftables": [
            {"metainfo": {"version": "1.0.6"}},
            chain("ip6", "filter", "FORWARD", hook="forward", policy="drop"),
            chain("ip", "filter", "FORWARD", hook="forward", policy="drop"),
            chain("inet", "own", "forward", hook="forward", policy="accept"),
            chain("inet", "fw", "in", hook="input", policy="drop"),
            chain("inet", "smegmesh", "forward", hook="forward", policy="drop"),
            chain("inet", "fw", "helper"),
        ]
    }
    assert find_drops(listing) == ["ip6 filter FORWARD"]
    assert find_drops({}) == []


def test_a_reply_is_known_by_its_identifier() -> None:
    request = encode_echo(0xABCD, 7)
    assert request == bytes.fromhex("80000000abcd0007")
    reply = b"\x81" + request[1:]
    assert decode_reply(reply + b"data", 0xABCD) == 7
    assert decode_reply(reply, 0xABCE) is None
    assert decode_reply(request, 0xABCD) is None
    assert decode_reply(reply[:5], 0xABCD) is None


def test_a_prober_without_targets_opens_nothing() -> None:
    prober = Prober("smeg-prod", lambda key, answered, sent: None)
    prober.watch([], 1.0)
    prober.close()


def test_the_plane_is_the_kernels_where_it_can() -> None:
    def choose(wanted: str, *, kernel: bool, userspace: bool) -> str:
        return choose_plane(wanted, NoLauncher(), kernel_can=lambda: kernel, userspace_can=lambda: userspace).name

    assert choose("auto", kernel=True, userspace=True) == "kernel"
    assert choose("auto", kernel=False, userspace=True) == "userspace"
    assert choose("userspace", kernel=True, userspace=True) == "userspace"
    assert choose("kernel", kernel=False, userspace=True) == "kernel"
    assert isinstance(choose_plane("memory", NoLauncher()), MemoryPlane)
    assert isinstance(choose_plane("userspace", NoLauncher()), UserspacePlane)
    with pytest.raises(PlaneError, match="load the module wireguard, or install the package wireguard-go"):
        choose("auto", kernel=False, userspace=False)
    with pytest.raises(PlaneError, match="plane 'fast' is unknown: use one of auto, kernel"):
        choose("fast", kernel=True, userspace=True)
