"""What one types: commands, their options, and what is said to somebody who mistypes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from smegmesh.cli import parsing
from smegmesh.cli.__main__ import main

SOURCE = Path(__file__).parents[4] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"


def smegctl(*arguments: str, stdout: int | object = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smegmesh.cli", *arguments],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
        stdout=stdout,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "which command?: name it first; see `smegctl --help`"),
        ("--socket /x status", "which command?: name it first; see `smegctl --help`"),
        ("statsu", "unknown command statsu: did you mean status?"),
        ("xyzzy", "unknown command xyzzy: see `smegctl --help`"),
        ("mesh", "mesh: what to do?: one of list, show, create, leave, join"),
        ("mesh creat x", "mesh: unknown command creat: did you mean create?"),
        ("mesh x", "mesh: unknown command x: one of list, show, create, leave, join"),
        ("node", "node: what to do?: one of set"),
        ("members --sokcet /x", "members: unknown option --sokcet: did you mean --socket?"),
        ("members --rope=x", "members: unknown option --rope: see `smegctl members --help`"),
        ("members a b", "members: unknown argument b: see `smegctl members --help`"),
        ("query prod", "query: the following arguments are required: expression: see `smegctl query --help`"),
        ("completion tcsh", "completion: argument shell: invalid choice: 'tcsh'"),
        ("node set prod", "node set: nothing is to be changed: give --alias, --description or both"),
        ("mesh create x --bootstrap p1", "--bootstrap: 'p1' is not NAME=HOST[:PORT]: write it like p1=198.18.0.11"),
    ],
)
def test_what_is_mistyped_is_one_line_and_nothing_is_done(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith(f"smegctl: {said}") and output.err.count("\n") == 1
    assert main([*words.split(), "--json"]) == 2
    output = capsys.readouterr()
    error = json.loads(output.out)["error"]
    assert output.err == "" and said.startswith(": ".join(filter(None, (error["path"], error["message"][:12]))))


def test_help_names_every_command_once_and_none_that_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = [line[2:18].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert sorted(lines) == sorted(words for words, command in parsing.commands().items() if command.summary)
    assert len(parsing.commands()) == sum(map(len, parsing.GROUPS.values()))


@pytest.mark.parametrize("words", list(parsing.commands()))
def test_every_command_has_help(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: smegctl {words} ") and "--json" in shown


def test_a_disk_that_is_full_is_one_line() -> None:
    for arguments in (["version"], ["--help"], ["completion", "bash"]):
        with Path("/dev/full").open("w") as full:
            done = smegctl(*arguments, stdout=full)
        assert done.returncode == 1
        assert done.stderr == "smegctl: standard output: cannot be written: No space left on device\n"


def test_an_output_that_is_closed_is_one_line() -> None:
    line = f"{sys.executable} -m smegmesh.cli version >&-"
    done = subprocess.run(
        line, shell=True, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "is closed" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = smegctl("--help", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_loaded_that_a_command_does_not_need() -> None:
    program = "import sys, smegmesh.cli.__main__ as m; m.main(['version']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"aiohttp", "asyncio", "cryptography", "http.client", "msgspec", "subprocess", "yaml"} & loaded
    assert not {name for name in loaded if name.startswith(("smegmesh.control", "smegmesh.declaration"))}


def test_an_interrupt_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_words: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(parsing, "parse", interrupted)
    assert (main(["watch"]), capsys.readouterr()) == (130, ("", ""))


def test_the_page_has_every_command_with_what_it_is() -> None:
    page = (Path(__file__).parents[4] / "docs" / "smegctl.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.count("|") == 4 and "`" in line]
    assert rows == [
        f"| {title} | `{command.words}` | {command.summary} |"
        for title, group in parsing.GROUPS.items()
        for command in group
        if command.summary
    ]
