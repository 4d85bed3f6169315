# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the installation does with a host that is not as tidy as it should be."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest
from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, files, installation


class Module:
    """As much of AnsibleModule as is asked for."""

    check_mode = False

    def run_command(self, command, **_options):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(name="own_umask")
def fixture_own_umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.usefixtures("own_umask")
def test_directories_are_readable_whatever_the_umask(tmp_path):
    path = tmp_path / "authorities" / "default" / "node.pem"
    files.write(str(path), b"x", 0o644)
    assert [mode(path), mode(path.parent), mode(path.parent.parent)] == [0o644, 0o755, 0o755]


def test_a_link_in_place_of_a_directory_is_not_followed(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    link = tmp_path / "local.d"
    link.symlink_to(target)
    me = installation.pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(installation, "DIRECTORIES", ((str(link), me, 0o700),))
    monkeypatch.setattr(installation, "user_exists", lambda: True)
    with pytest.raises(agent.AgentError, match=r"local\.d is not a directory .*: remove it"):
        installation.apply_layout(Module())
    assert mode(target) == 0o755


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("python", ["#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 1\n", None])
def test_a_version_counts_while_its_python_finds_it(tmp_path, monkeypatch, complete, python):
    monkeypatch.setattr(installation, "VERSIONS", str(tmp_path))
    program = tmp_path / "1" / "bin" / "python"
    program.parent.mkdir(parents=True)
    if python is None:
        program.symlink_to(tmp_path / "gone")
    else:
        program.write_text(python)
        program.chmod(0o755)
    if complete:
        (tmp_path / "1" / ".complete").touch()
    assert installation.has_version(Module(), "1") is (complete and python is not None and "exit 0" in python)


def test_an_agent_that_cannot_be_run_is_an_error_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(agent, "SMEGCTL", str(tmp_path / "smegctl"))
    with pytest.raises(agent.AgentError, match=r"smegctl cannot be run \(No such file or directory\): run the role"):
        agent.smegctl(Module(), ["status"])


def test_the_version_before_stays_whatever_was_tried_since(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "VERSIONS", str(tmp_path))
    for age, name in enumerate(["new", "tried", "good", "old"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert installation.remove_old(Module(), "new", "good", 1) == ["remove version tried", "remove version old"]
    assert installation.versions() == ["good", "new"]


def complete_with(tmp_path, monkeypatch, program):
    """Apply the completion of a version whose smegctl is this program: what changed, and the file."""
    smegctl = tmp_path / "1" / "bin" / "smegctl"
    smegctl.parent.mkdir(parents=True, exist_ok=True)
    smegctl.write_text("#!/bin/sh\n" + program)
    smegctl.chmod(0o755)
    monkeypatch.setattr(installation, "VERSIONS", str(tmp_path))
    monkeypatch.setattr(installation, "COMPLETION", str(tmp_path / "completions" / "smegctl"))
    return installation.apply_completion(Module(), "1"), files.read(installation.COMPLETION)


def test_completion_is_that_of_the_version(tmp_path, monkeypatch):
    first, second = (b"# bash completion for smegctl: %d\n" % each for each in (1, 2))
    for expected in (first, second):
        program = "echo '%s'" % expected.decode().strip()
        changes, content = complete_with(tmp_path, monkeypatch, program)
        assert ([change.split()[0] for change in changes], content) == (["write"], expected)
        assert complete_with(tmp_path, monkeypatch, program) == ([], expected)
    assert mode(installation.COMPLETION) == 0o644
    for program in ("exit 2", "echo nonsense"):
        assert complete_with(tmp_path, monkeypatch, program) == ([], second), "an older version has none"


def test_completion_of_somebody_else_stays(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(Module, "warn", lambda _self, text: warnings.append(text), raising=False)
    (tmp_path / "completions").mkdir()
    (tmp_path / "completions" / "smegctl").write_bytes(b"mine")
    found = complete_with(tmp_path, monkeypatch, "echo '# bash completion for smegctl: 1'")
    assert (found, len(warnings)) == (([], b"mine"), 1)


def test_a_service_of_another_program_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "UNIT_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(agent, "CURRENT", str(tmp_path / "current"))
    installation.check_unit()
    unit = tmp_path / "smegd.service"
    unit.write_text("[Service]\nExecStart=/usr/local/bin/smegd /etc/smegd.yaml\n")
    with pytest.raises(agent.AgentError, match="starts another program"):
        installation.check_unit()
    unit.write_text("[Service]\nExecStart=/opt/smegmesh/current/bin/smegd\n")
    installation.check_unit()
