"""The userspace API's text, and the plane and launchers on sockets that the test serves."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from smegmesh.dataplane.launcher import ProcessLauncher, SystemdLauncher, answers, socket_path
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, PeerChange, PeerState, PlaneError
from smegmesh.dataplane.uapi import UapiError, call, encode_changes, parse_device
from smegmesh.dataplane.userspace import UserspacePlane
from smegmesh.dataplane.watch import wait_until
from smegmesh.identity.keys import generate_private_key, public_key

DEVICE = "smeg-prod"
A, B = b"a" * 32, b"b" * 32


class Refusing:
    """A launcher for tests in which nothing is to be launched."""

    def start(self, device: str) -> None:
        raise AssertionError(device)

    stop = start


@contextmanager
def device(path: Path, answer: Callable[[list[str]], str]) -> Iterator[list[list[str]]]:
    """A device that answers as told; the requests it got."""
    requests: list[list[str]] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                text = b""
                while not text.endswith(b"\n\n"):
                    chunk = connection.recv(4096)
                    if not chunk:
                        break
                    text += chunk
                lines = text.decode().split()
                if lines == ["end"]:
                    return
                if lines:
                    requests.append(lines)
                    connection.sendall(answer(lines).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
            last.sendall(b"end\n\n")
        thread.join()
        listener.close()
        path.unlink()


def test_changes_are_written_in_order() -> None:
    changes = [
        PeerChange(A, remove=True, add=False),
        PeerChange(B, add=False, allowed_ips=frozenset({ip_network("fd00::2/128"), ip_network("fd00::1/128")})),
        PeerChange(A, endpoint=("2001:db8::1", 5), keepalive=25, preshared_key=b"p" * 32),
        PeerChange(B, endpoint=("198.18.0.1", 6), allowed_ips=frozenset()),
    ]
    assert list(encode_changes(changes)) == [
        f"public_key={A.hex()}",
        "remove=true",
        f"public_key={B.hex()}",
        "update_only=true",
        "replace_allowed_ips=true",
        "allowed_ip=fd00::1/128",
        "allowed_ip=fd00::2/128",
        f"public_key={A.hex()}",
        f"preshared_key={(b'p' * 32).hex()}",
        "endpoint=[2001:db8::1]:5",
        "persistent_keepalive_interval=25",
        f"public_key={B.hex()}",
        "endpoint=198.18.0.1:6",
        "replace_allowed_ips=true",
    ]


def test_a_device_is_read_with_what_is_unknown_to_us() -> None:
    private = generate_private_key()
    lines = [
        f"private_key={private.hex()}",
        "listen_port=51820",
        "fwmark=7",
        "something=new",
        f"public_key={A.hex()}",
        f"preshared_key={B.hex()}",
        "protocol_version=1",
        "endpoint=[2001:db8::1]:5",
        "last_handshake_time_sec=1700000000",
        "last_handshake_time_nsec=500000000",
        "tx_bytes=3",
        "rx_bytes=4",
        "persistent_keepalive_interval=25",
        "allowed_ip=fd00::1/128",
        "allowed_ip=198.18.0.0/15",
        f"public_key={B.hex()}",
        f"preshared_key={bytes(32).hex()}",
        "last_handshake_time_sec=0",
        "last_handshake_time_nsec=0",
    ]
    allowed = frozenset({ip_network("fd00::1/128"), ip_network("198.18.0.0/15")})
    assert parse_device(lines) == DeviceState(
        public_key=public_key(private),
        listen_port=51820,
        fwmark=7,
        peers={
            A: PeerState(("2001:db8::1", 5), allowed, 25, 1700000000.5, 4, 3, B),
            B: PeerState(None, frozenset(), 0),
        },
    )


def test_a_device_that_was_never_configured() -> None:
    assert parse_device([]) == DeviceState(bytes(32), 0, 0, {})


def test_refusals_and_broken_answers_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "wg0.sock"
    with pytest.raises(PlaneError, match="no answer from"):
        call(path, ["get=1"])
    said = ["errno=-22\n\n", "listen_port=5\n", ""]
    with device(path, lambda _: said.pop(0)):
        with pytest.raises(UapiError, match="wg0: WireGuard refused the request: Invalid argument") as caught:
            call(path, ["set=1"])
        assert caught.value.code == errno.EINVAL
        with pytest.raises(PlaneError, match="broke off"):
            call(path, ["get=1"])
        with pytest.raises(PlaneError, match="broke off"):
            call(path, ["get=1"])


def test_only_settings_that_differ_are_set(tmp_path: Path) -> None:
    private = generate_private_key()
    path = socket_path(tmp_path, DEVICE)
    with device(path, lambda _: f"private_key={private.hex()}\nlisten_port=40001\nerrno=0\n\n") as requests:
        plane = UserspacePlane(Refusing(), tmp_path)
        assert plane.create(DEVICE) is False
        plane.configure(DEVICE, DeviceSettings(private, 40001))
        plane.configure(DEVICE, DeviceSettings(private, 40001, fwmark=5))
        plane.apply(DEVICE, [])
    assert [request for request in requests if request != ["get=1"]] == [["set=1", "fwmark=5"]]


def test_a_device_that_lost_its_port_to_a_conflict_gets_it_back(tmp_path: Path) -> None:
    def answer(lines: list[str]) -> str:
        if lines == ["get=1"]:
            return "listen_port=40001\nerrno=0\n\n"
        return "errno=-98\n\n" if lines[1] == "listen_port=40002" else "errno=0\n\n"

    with (
        device(socket_path(tmp_path, DEVICE), answer) as requests,
        pytest.raises(PlaneError, match="UDP port 40002 is in use"),
    ):
        UserspacePlane(Refusing(), tmp_path).configure(DEVICE, DeviceSettings(generate_private_key(), 40002))
    assert [request[1] for request in requests[1:]] == ["listen_port=40002", "listen_port=40001"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "sixteen-letters-", "a b"])
def test_a_bad_interface_name_reaches_no_path(name: str) -> None:
    with pytest.raises(PlaneError, match="cannot be an interface's name"):
        socket_path(Path("/run/wireguard"), name)


def test_a_socket_left_by_a_crash_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    assert path.exists()
    assert not answers(path)
    ProcessLauncher(tmp_path).stop("wg0")
    assert not path.exists()


def test_a_program_that_is_missing_or_fails_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PlaneError, match="install the package wireguard-go"):
        ProcessLauncher(tmp_path, str(tmp_path / "nothing")).start("wg0")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho no tunnel for $1 >&2\nexit 1\n")
    program.chmod(0o700)
    with pytest.raises(PlaneError, match="did not start: no tunnel for wg0"):
        ProcessLauncher(tmp_path, str(program)).start("wg0")


def test_the_root_helper_is_asked_and_waited_for(tmp_path: Path) -> None:
    sockets = tmp_path / "wireguard"  # which the helper's unit makes
    requests = tmp_path / "devices"
    requests.mkdir()
    started, stopped = requests / f"{DEVICE}.start", requests / f"{DEVICE}.stop"
    launcher = SystemdLauncher(sockets, requests)

    def helper() -> None:
        assert wait_until(started.exists, requests, 5)
        sockets.mkdir()
        with device(socket_path(sockets, DEVICE), lambda _: ""):
            assert wait_until(stopped.exists, requests, 5)

    thread = threading.Thread(target=helper)
    thread.start()
    launcher.start(DEVICE)
    assert answers(socket_path(sockets, DEVICE))
    launcher.stop(DEVICE)
    assert not answers(socket_path(sockets, DEVICE))
    thread.join()


def test_a_root_helper_that_does_nothing_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PlaneError, match=r"no start within 0\.05 s: see journalctl"):
        SystemdLauncher(tmp_path, tmp_path, timeout=0.05).start(DEVICE)
    with pytest.raises(PlaneError, match="is the role's unit installed"):
        SystemdLauncher(tmp_path, tmp_path / "missing").start(DEVICE)
