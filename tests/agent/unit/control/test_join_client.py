"""What may answer a host that asks: it is an answer, or one line says what is wrong."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from https_hosts import Issuer

from smegmesh.control.errors import ControlError
from smegmesh.control.join_client import JoinAnswer, NobodyThere, ask_to_join

PENDING = {"version": 1, "state": "pending", "authority": "PEM", "link_port": 4000}


@contextmanager
def peer(tmp_path: Path, answer: bytes | None, *, tls: bool = True) -> Iterator[int]:
    """Somebody at a port who says this, whatever is asked; None: closes at once."""
    shown = Issuer(tmp_path / "authority").node()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                if answer is None:
                    connection.recv(4096)  # else it would be a reset
                    return
                if not tls:
                    connection.sendall(answer)
                    return
                with context.wrap_socket(connection, server_side=True) as session:
                    session.recv(4096)
                    session.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def ask(port: int) -> JoinAnswer:
    return ask_to_join("127.0.0.1", port, "prod", b"request", timeout=5)


def test_an_answer_is_read_with_who_gave_it(tmp_path: Path) -> None:
    with peer(tmp_path, json.dumps(PENDING).encode() + b"\n") as port:
        answer = ask(port)
    assert (answer.state, answer.authority, answer.link_port) == ("pending", b"PEM", 4000)
    assert answer.shown == ssl.PEM_cert_to_DER_cert((tmp_path / "authority" / "a1.pem").read_text())


@pytest.mark.parametrize(
    "data",
    [
        "text",
        [],
        {**PENDING, "version": 2},
        {**PENDING, "state": "joined"},
        {**PENDING, "authority": 1},
        {**PENDING, "authority": ""},
        {**PENDING, "authority": "é"},
        {**PENDING, "certificate": None},
        {**PENDING, "link_port": True},
        {**PENDING, "link_port": "4000"},
        {**PENDING, "link_port": 65536},
        {"version": 1, "state": "approved"},
    ],
)
def test_what_no_agent_says_is_no_answer(tmp_path: Path, data: Any) -> None:
    said = json.dumps(data, ensure_ascii=False).encode() + b"\n"
    with peer(tmp_path, said) as port, pytest.raises(ControlError, match=r"the answer .*is that a peer of the mesh"):
        ask(port)


@pytest.mark.parametrize(
    ("answer", "tls", "what"),
    [
        (None, True, "it closed the connection"),
        (b"{", True, "it closed the connection"),
        (b"x" * 300_000, True, "not JSON"),
        (b"[" * 100_000 + b"\n", True, "not JSON"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", False, "is that a peer of the mesh"),
    ],
)
def test_what_answers_may_be_anything(tmp_path: Path, answer: bytes | None, tls: bool, what: str) -> None:
    with peer(tmp_path, answer, tls=tls) as port, pytest.raises(ControlError, match=what):
        ask(port)


def test_who_answers_byte_by_byte_does_not_keep_a_host_for_ever(tmp_path: Path) -> None:
    shown = Issuer(tmp_path / "authority").node()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _address = listener.accept()
            with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as session:
                for _byte in range(100):
                    session.sendall(b" ")
                    gone.wait(0.1)

        gone = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(ControlError, match="timed out"):
                ask_to_join("127.0.0.1", listener.getsockname()[1], "prod", b"request", timeout=0.5)
        finally:
            gone.set()
            thread.join()


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(NobodyThere, match="Connection refused: is that a peer"):
        ask(port)


def test_a_name_that_does_not_resolve_is_told() -> None:
    with pytest.raises(NobodyThere, match=r"^p1\.invalid: .*: check the name, or give an address"):
        ask_to_join("p1.invalid", 4082, "prod", b"request", timeout=5)
