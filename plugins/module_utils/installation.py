# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an installed agent consists of on a host. Every step says what it changed, or in check mode would."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import tarfile

from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, files

VERSIONS = agent.ROOT + "/versions"
UNIT_DIRECTORY = "/etc/systemd/system"
HELPER = agent.ROOT + "/libexec/smegmesh-devices"
COMPLETION = "/usr/local/share/bash-completion/completions/smegctl"
UNITS = ("smegd.service", "smegmesh-wg@.service", "smegmesh-devices.path", "smegmesh-devices.service")

# path, owner, mode; parents first
DIRECTORIES = (
    (agent.ROOT, "root", 0o755),
    (VERSIONS, "root", 0o755),
    (agent.ROOT + "/libexec", "root", 0o755),
    (agent.CONFIGURATION, "root", 0o755),
    (agent.DECLARATIONS, "root", 0o755),
    (agent.AUTHORITIES, "root", 0o755),
    (agent.STATE, agent.USER, 0o700),
    (agent.STATE + "/local.d", agent.USER, 0o700),
)


def run(module, command, purpose, **options):
    """Run a command that has to succeed; its output otherwise ends in the error."""
    code, out, err = module.run_command(command, **options)
    if code:
        raise agent.AgentError("cannot %s: %s" % (purpose, (err or out).strip()[-2000:] or "exit status %d" % code))
    return out


def user_exists():
    try:
        pwd.getpwnam(agent.USER)
    except KeyError:
        return False
    return True


def versions():
    """All that are installed, sorted."""
    return sorted(os.listdir(VERSIONS)) if os.path.isdir(VERSIONS) else []


def has_version(module, version):
    """Whether a version was installed to the end, and the Python it was installed for is still there.

    A new release of the distribution may bring another, which does not look where the libraries are.
    """
    directory = os.path.join(VERSIONS, version)
    python = os.path.join(directory, "bin", "python")
    if not os.path.exists(os.path.join(directory, ".complete")) or not os.access(python, os.X_OK):
        return False
    return module.run_command([python, "-I", "-c", "import smegmesh"])[0] == 0


def apply_layout(module):
    """The system user and the directories."""
    changes = []
    if not user_exists():
        changes.append("add the system user %s" % agent.USER)
        if not module.check_mode:
            command = [module.get_bin_path("useradd", True), "--system", "--user-group", "--home-dir", agent.STATE]
            command += ["--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", "smegmesh agent", agent.USER]
            run(module, command, "add the system user")
    for path, owner, mode in DIRECTORIES:
        if _is_directory(path, owner, mode):
            continue
        changes.append("make the directory %s" % path)
        if not module.check_mode:
            _make_directory(path, owner, mode)
    return changes


def _make_directory(path, owner, mode):
    """Make or mend a directory. Some lie in one of the agent's own, so a link in its place is not followed."""
    try:
        files.make_directory(path)
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise agent.AgentError("%s is not a directory (%s): remove it" % (path, error.strerror)) from error
    try:
        os.fchown(directory, pwd.getpwnam(owner).pw_uid, grp.getgrnam(owner).gr_gid)
        os.fchmod(directory, mode)
    finally:
        os.close(directory)


def _is_directory(path, owner, mode):
    try:
        found = os.lstat(path)
        uid = pwd.getpwnam(owner).pw_uid
    except (FileNotFoundError, KeyError):
        return False
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and found.st_uid == uid


def install_version(module, version, bundle, python, from_index):
    """A virtual environment of its own for the version; complete, or not there."""
    directory = os.path.join(VERSIONS, version)
    shutil.rmtree(directory, ignore_errors=True)
    files.make_directory(directory)
    try:
        _fill(module, directory, bundle, python, from_index)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _fill(module, directory, bundle, python, from_index):
    source = os.path.join(directory, "bundle")
    with tarfile.open(bundle) as tar:
        for member in tar.getmembers():
            files.write(os.path.join(source, member.name), tar.extractfile(member).read(), 0o644)
    run(module, [python, "-m", "venv", directory], "make a virtual environment", umask=0o022)
    command = [os.path.join(directory, "bin", "python"), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--require-hashes", "--only-binary=:all:"]
    command += ["--requirement", "requirements.txt"]
    if not from_index:
        command += ["--no-index", "--find-links", "wheels"]
    run(module, command, "install the agent", cwd=source, umask=0o022)
    shutil.rmtree(os.path.join(source, "wheels"))
    files.write(os.path.join(directory, ".complete"), b"", 0o644)


def check_unit():
    """AgentError if the service of our name is another program's; where the agent is, a damaged one is ours."""
    path = os.path.join(UNIT_DIRECTORY, agent.SERVICE)
    content = files.read(path)
    if content is not None and not os.path.lexists(agent.CURRENT) and agent.ROOT.encode("ascii") not in content:
        raise agent.AgentError(
            "%s is there already and starts another program: disable it and give it another name, "
            "or remove it if nobody needs it" % path
        )


def apply_units(module, version):
    """The systemd units and their helper, as the version has them."""
    source = os.path.join(VERSIONS, version, "bundle", "units")
    targets = [(os.path.join(UNIT_DIRECTORY, name), name, 0o644) for name in UNITS]
    targets.append((HELPER, "smegmesh-devices", 0o755))
    changes = []
    for target, name, mode in targets:
        content = files.read(os.path.join(source, name))
        if files.read(target) != content:
            changes.append("write %s" % target)
            if not module.check_mode:
                files.write(target, content, mode)
    # An image that is being built has no running systemd.
    if changes and not module.check_mode and os.path.isdir("/run/systemd/system"):
        run(module, ["systemctl", "daemon-reload"], "have systemd read the units")
    return changes


def make_current(module, version):
    """The link that the unit starts from, and the command on everybody's path."""
    changes = []
    if _link(module, agent.CURRENT, os.path.join("versions", version)):
        changes.append("make version %s current" % version)
    if os.path.lexists(agent.COMMAND) and not is_our_command():
        module.warn("%s is not the agent's and was left alone: use %s" % (agent.COMMAND, agent.SMEGCTL))
    elif _link(module, agent.COMMAND, agent.SMEGCTL):
        changes.append("link %s" % agent.COMMAND)
    return changes


def apply_completion(module, version):
    """What bash completes smegctl with, as the version has it. One that has none leaves it to ask in vain."""
    smegctl = os.path.join(VERSIONS, version, "bin", "smegctl")
    code, script, _err = module.run_command([smegctl, "completion", "bash"])
    content = script.encode("utf-8")
    if code or not is_our_completion(content) or files.read(COMPLETION) == content:
        return []
    if os.path.lexists(COMPLETION) and not is_our_completion(files.read(COMPLETION)):
        module.warn("%s is not the agent's and was left alone" % COMPLETION)
        return []
    if not module.check_mode:
        files.write(COMPLETION, content, 0o644)
    return ["write %s" % COMPLETION]


def is_our_completion(content):
    """Whether such a file is the agent's, by what is in it (None without one)."""
    return bool(content) and content.startswith(b"# bash completion for smegctl:")


def is_our_command():
    """Whether the command on everybody's path is the agent's."""
    return os.path.islink(agent.COMMAND) and os.readlink(agent.COMMAND) == agent.SMEGCTL


def _link(module, path, target):
    """Point a link at a target in one step; whether that changed it."""
    if os.path.islink(path) and os.readlink(path) == target:
        return False
    if not module.check_mode:
        temporary = path + ".new"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.symlink(target, temporary)
        os.replace(temporary, path)
    return True


def current_version():
    """The one that the agent starts from, empty if there is none."""
    return os.path.basename(os.readlink(agent.CURRENT)) if os.path.islink(agent.CURRENT) else ""


def remove_old(module, version, before, keep):
    """Remove all versions but the current and C(keep) others: the one that was current before it, and those that were
    installed last."""
    others = [name for name in os.listdir(VERSIONS) if name != version]
    others.sort(key=lambda name: (name == before, os.lstat(os.path.join(VERSIONS, name)).st_mtime), reverse=True)
    for name in others[keep:]:
        if not module.check_mode:
            shutil.rmtree(os.path.join(VERSIONS, name))
    return ["remove version %s" % name for name in others[keep:]]
