"""What a shell offers when one presses Tab."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from smegmesh.cli.completing import FILES, AgentNames, complete
from smegmesh.cli.completion_scripts import SCRIPTS


class Known:
    """A host in two meshes."""

    def find(self, what: str, mesh: str) -> Iterable[str]:
        if what == "mesh":
            return ["prod", "office"]
        return {"member": ["a1", "a2"], "prefix": ["2001:db8:10::/48"]}.get(what, []) if mesh == "prod" else []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("st", "static-peers status"),
        ("compl", "completion"),
        ("mesh ", "create join leave list show"),
        ("mesh l", "leave list"),
        ("mesh leave ", "office prod"),
        ("mesh create ", ""),
        ("members p", "prod"),
        ("forget prod ", "a1 a2"),
        ("forget prod --json a", "a1 a2"),
        ("forget nosuch ", ""),
        ("forget prod a1 ", ""),
        ("route remove prod 2", "2001:db8:10::/48"),
        ("graph prod --f", "--format"),
        ("graph prod --format ", "dot svg"),
        ("graph --format svg ", "office prod"),
        ("graph prod --output x", FILES),
        ("completion ", "bash fish zsh"),
        ("nosuch ", ""),
    ],
)
def test_what_is_offered(typed: str, offered: str) -> None:
    assert " ".join(sorted(word for word, _ in complete(typed.split(" "), Known()))) == offered


def test_names_come_without_an_agent_as_well() -> None:
    assert complete(["forget", "prod", ""], AgentNames(Path("/nonexistent"))) == []


def by_bash(typed: str, answer: str, tmp_path: Path) -> list[str]:
    """What bash makes of it where smegctl answers so."""
    program = tmp_path / "smegctl"
    program.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >"{tmp_path}/asked"\nprintf "{answer}"\n')
    program.chmod(0o755)
    lines = [SCRIPTS["bash"], f"COMP_LINE='{typed}'", "COMP_POINT=${#COMP_LINE}"]
    lines += ["compopt() { echo files; }", f"_smegctl {program}", 'printf "%s\\n" "${COMPREPLY[@]}"']
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash(tmp_path: Path) -> None:
    assert by_bash("smegctl mem", "members\\tthe members of a mesh\\n", tmp_path) == ["members"]
    assert (tmp_path / "asked").read_text() == "complete|--|mem|"
    assert by_bash("smegctl  mesh ", "list\\nshow\\tone\\n", tmp_path) == ["list", "show"]
    assert (tmp_path / "asked").read_text() == "complete|--|mesh||"
    assert by_bash("smegctl route remove prod 2001:db", "2001:db8:10::/48\\n", tmp_path) == ["db8:10::/48"]
    assert by_bash("smegctl graph prod --output ", ":files\\n", tmp_path) == ["files"]
    assert by_bash("smegctl nosuch ", "", tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_its_script(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([program, "-n"], input=SCRIPTS[shell], text=True, check=True)
