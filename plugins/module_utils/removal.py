# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking the agent off a host: out of its meshes first, then everything it made."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent, files, firewall, host, installation

LEAVE_SECONDS = 20
RUNTIME = "/run/smegmesh"
SYSTEMD = "/run/systemd/system"
POLKIT_RULE = "/etc/polkit-1/rules.d/50-smegmesh.rules"
TREES = (agent.CONFIGURATION, agent.STATE, agent.ROOT, RUNTIME)


def remove(module):
    """Remove all of it; what is already gone is no error. Returns what was done, or would be."""
    units = [os.path.join(installation.UNIT_DIRECTORY, name) for name in installation.UNITS]
    found = [path for path in list(TREES) + units + [POLKIT_RULE] if os.path.lexists(path)]
    if installation.is_our_command():
        found.append(agent.COMMAND)
    if installation.is_our_completion(files.read(installation.COMPLETION)):
        found.append(installation.COMPLETION)
    interfaces = mesh_interfaces(module)
    changes = ["remove %s" % path for path in found] + ["remove interface %s" % name for name in interfaces]
    marked = firewall.marked_rules(module)
    changes += ["remove the rule %r from chain %s" % (comment, chain) for chain, comment, _handle in marked]
    if installation.user_exists():
        changes.append("remove the system user %s" % agent.USER)
    if module.check_mode or not changes:
        return changes
    _leave(module)
    _attempt(module, "systemctl", "disable", "smegd.service", "smegmesh-devices.path")
    stop(module, interfaces)
    firewall.remove_marked(module)
    _attempt(module, "nft", "delete", "table", "inet", "smegmesh")
    with contextlib.suppress(OSError):
        os.rmdir("/run/wireguard")  # sockets of others may be in it
    for path in found:
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    _attempt(module, "systemctl", "daemon-reload")
    _attempt(module, "systemctl", "reset-failed", "smegd.service", "smegmesh-devices.service")
    if installation.user_exists():
        installation.run(module, [module.get_bin_path("userdel", True), agent.USER], "remove the system user")
    return changes


def _attempt(module, name, *arguments):
    """Run a program that need not succeed, nor be there: exit status and output."""
    program = module.get_bin_path(name)
    return module.run_command([program] + list(arguments))[:2] if program else (127, "")


def _leave(module):
    """Leave all meshes as a member should, so that others hear of it and the agent undoes what it did to the host."""
    if not agent.installed():
        return
    local = agent.STATE + "/local.d"
    # The directory is the agent's, so a link in its place is not followed.
    if os.path.isdir(local) and not os.path.islink(local):
        shutil.rmtree(local)
    _attempt(module, "systemctl", "start", agent.SERVICE)
    for owner in ("play", "role"):
        try:
            agent.smegctl(module, ["apply"], {"declarations": [], "purge_owner": owner})
        except agent.AgentError as error:
            module.warn("the meshes could not be left, other hosts will see this one as down: %s" % error)
            return
    deadline = time.monotonic() + LEAVE_SECONDS
    while time.monotonic() < deadline:
        try:
            if not agent.smegctl(module, ["status"])["meshes"]:
                return
        except agent.AgentError:
            return
        time.sleep(0.2)
    module.warn("the agent did not leave its meshes within %d s" % LEAVE_SECONDS)


def running(module):
    """Whether systemd runs the agent."""
    return os.path.isdir(SYSTEMD) and _attempt(module, "systemctl", "--quiet", "is-active", agent.SERVICE)[0] == 0


def start(module):
    """Have systemd run the agent, and what starts its devices; a warning if it does not."""
    code, out = _attempt(module, "systemctl", "start", agent.SERVICE)
    if code:
        module.warn("the agent does not run again: %s" % (out.strip() or "see journalctl -u %s" % agent.SERVICE))


def stop(module, interfaces):
    """Stop the agent and its devices in user space, and take these interfaces away."""
    units = ["smegd.service", "smegmesh-devices.path", "smegmesh-devices.service", "smegmesh-wg@*.service"]
    units.append(r"system-smegmesh\x2dwg.slice")
    # Nothing runs in an image that is being built.
    if os.path.isdir(SYSTEMD):
        installation.run(module, ["systemctl", "stop"] + units, "stop the agent")
    for name in interfaces:
        _attempt(module, "ip", "link", "delete", name)


def mesh_interfaces(module):
    """Mesh interfaces that are there: those the agent names, and those with the names it gives by itself."""
    named = set()
    if agent.installed():
        # Where it does not run, its interfaces are found by name.
        with contextlib.suppress(agent.AgentError):
            named = {mesh.get("interface") for mesh in agent.smegctl(module, ["status"])["meshes"]}
    links = [link["ifname"] for link in host.ip_json(module, ["link", "show"])]
    return [name for name in links if name in named or name.startswith("smeg-")]
