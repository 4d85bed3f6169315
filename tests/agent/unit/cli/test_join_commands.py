"""Joining on the command line: what is told before anything is asked, and how long it waits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smegmesh.cli.__main__ import OK, main
from smegmesh.cli.failing import BAD_INPUT, FAILED
from smegmesh.cli.join import PAUSE, Step, ask_until
from smegmesh.control.errors import ControlError
from smegmesh.control.join_client import NobodyThere
from smegmesh.identity.certificate import Authority, leaf_der, make_authority, make_request
from smegmesh.identity.joining import read_join, write_fingerprint
from smegmesh.identity.keys import IdentityKey

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"
NOW = 1_700_000_000
JOIN = read_join("prod", make_request(IdentityKey.generate(), "web3", bytes(32)))
FINGERPRINT = write_fingerprint(JOIN.fingerprint)


class Asked:
    """Answers as they come, and a clock that only sleeping moves."""

    def __init__(self, *answers: str) -> None:
        self._answers: Iterator[str] = iter(answers)
        self.now = 100.0

    def ask(self) -> Step:
        answer = next(self._answers)
        if answer == "lost":
            raise ControlError("no answer", "ask again")
        if answer == "nobody":
            raise NobodyThere("Connection refused", "is that a peer?")
        return Step(answer, JOIN, "")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def within(self, seconds: float) -> str:
        return ask_until(self, self.now + seconds, lambda: self.now, self.sleep).state  # type: ignore[arg-type]


def test_it_asks_until_it_is_approved_or_the_time_is_over() -> None:
    assert Asked("pending").within(0) == "pending"
    patient = Asked("pending", "lost", "pending", "joined")
    assert patient.within(3 * PAUSE) == "joined"
    assert Asked("pending", "pending", "joined").within(PAUSE) == "pending"
    with pytest.raises(ControlError, match="no answer"):
        Asked("pending", "lost").within(PAUSE)


def test_it_waits_for_a_peer_that_has_answered_not_for_one_that_is_not_there() -> None:
    assert Asked("pending", "nobody", "joined").within(3 * PAUSE) == "joined"
    mistyped = Asked("nobody", "joined")
    with pytest.raises(NobodyThere, match="Connection refused"):
        mistyped.within(600)
    assert mistyped.now == 100, "at once"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    pem, key = make_authority("default", 36500, now=NOW)
    (tmp_path / "authority.pem").write_bytes(pem)
    (tmp_path / "authority.key").write_bytes(key)
    (tmp_path / "requests.json").write_text(
        json.dumps([{"mesh": "prod", "state": "pending", "name": "a lie", "request": JOIN.pem.decode()}])
    )
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    code = main([*map(str, words), "--json"])
    answer = json.loads(capsys.readouterr().out)
    return code, answer if code == OK else ": ".join(answer["error"].values())


def test_a_file_of_requests_is_signed_where_no_agent_is(authority: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("--requests", authority / "requests.json", "--output", authority / "out.pem")
    approve = ("approve", "--authority", authority, *files, "--mesh", "office", "--days", 10)
    code, approved = run(capsys, *approve, "prod", FINGERPRINT.replace(":", ""))
    assert (code, approved) == (OK, [{"mesh": "prod", "name": "web3", "fingerprint": FINGERPRINT}])
    node = Authority((authority / "authority.pem").read_bytes()).verify(leaf_der((authority / "out.pem").read_bytes()))
    assert node.grant.meshes == ("office", "prod")
    assert node.not_after - node.not_before == 10 * 86400 + 300


def test_to_approve_takes_nothing_but_the_identity_room(authority: Path) -> None:
    """On a controller there is cryptography, and nothing else of what an agent needs."""
    program = (
        "import sys\n"
        "for name in ('msgspec', 'aiohttp', 'jsonschema', 'yaml', 'pyroute2'): sys.modules[name] = None\n"
        "from smegmesh.cli.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    files = ("--requests", authority / "requests.json", "--output", authority / "out.pem")
    command = ("approve", "--authority", authority, *files, "prod", FINGERPRINT)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, command)],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (OK, b"approved: web3 in mesh prod\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("mesh", "join", "not a host", "prod"), BAD_INPUT, "ADDRESS"),
        (("mesh", "join", "198.18.0.1", "Not A Mesh"), BAD_INPUT, "MESH"),
        (("mesh", "join", "198.18.0.1", "prod", "--authority-fingerprint", "12:34"), BAD_INPUT, "all 64 digits"),
        (("mesh", "join", "198.18.0.1", "prod", "--token", "{}/none"), BAD_INPUT, "cannot be read"),
        (("approve", "--authority", "{}", "prod"), BAD_INPUT, "belong together"),
        (("approve", "--authority", "{}", "--requests", "{}/requests.json"), BAD_INPUT, "belong together"),
        (("approve", "--authority", "{}", "--days", "0"), BAD_INPUT, "is no time"),
        (("approve", "--authority", "{}/none"), BAD_INPUT, "none/authority.pem: give the right path"),
        (("approve", "--authority", "{}", "--key", "{}/vaulted"), BAD_INPUT, "encrypted with ansible-vault"),
        (("approve", "--authority", "{}", "--requests", "{}/authority.pem", "--output", "x"), BAD_INPUT, "not JSON"),
        (("approve", "--authority", "{}", "--requests", "{}/bad.json", "--output", "x"), BAD_INPUT, "request 2: "),
        (
            ("approve", "--authority", "{}", "--requests", "{}/requests.json", "--output", "{}/x", "prod", "0" * 64),
            FAILED,
            "no request of this mesh and fingerprint",
        ),
        (
            ("approve", "--authority", "{}", "--requests", "{}/requests.json", "--output", "{}/none/x")
            + ("prod", FINGERPRINT),
            FAILED,
            "cannot be written",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    authority: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, told: str
) -> None:
    (authority / "vaulted").write_text("$ANSIBLE_VAULT;1.1;AES256\n")
    good = json.loads((authority / "requests.json").read_text())[0]
    (authority / "bad.json").write_text(json.dumps([good, {**good, "request": "-----BEGIN"}]))
    status, answer = run(capsys, *(word.replace("{}", str(authority)) for word in words))
    assert status == code
    assert told in answer
