# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent on this host, as the modules see it: where it lives, and its command line."""

from __future__ import annotations

import json
import os

ROOT = "/opt/smegmesh"
CURRENT = ROOT + "/current"
SMEGCTL = CURRENT + "/bin/smegctl"
COMMAND = "/usr/local/bin/smegctl"
USER = "smegmesh"
CONFIGURATION = "/etc/smegmesh"
DECLARATIONS = CONFIGURATION + "/meshes.d"
AUTHORITIES = CONFIGURATION + "/authorities"
STATE = "/var/lib/smegmesh"
SERVICE = "smegd.service"
PING_SECONDS = 3


class AgentError(Exception):
    """The agent refused, or could not be asked: what, where, what to do."""


def installed():
    """Whether the agent's command line is there."""
    return os.access(SMEGCTL, os.X_OK)


def smegctl(module, arguments, request=None, as_agent=False, text=None, statuses=(0,)):
    """Run C(smegctl ARGUMENTS --json) and return its answer; C(request) goes to its input as JSON, C(text) as it is.

    With C(as_agent) it runs as the agent's user, so that what it makes belongs to the agent. C(statuses) are the exit
    statuses with which it answers.
    Raises AgentError with the agent's own words.
    """
    command = [SMEGCTL] + arguments + ["--json"]
    if as_agent and os.geteuid() == 0:
        command = [module.get_bin_path("runuser", True), "-u", USER, "--"] + command
    data = text if request is None else json.dumps(request)
    try:
        code, out, err = module.run_command(
            command, data=data, binary_data=text is not None, cwd="/", handle_exceptions=False
        )
    except OSError as error:
        # As where the Python it was installed for is gone with an older release of the distribution.
        raise AgentError("%s cannot be run (%s): run the role smegmesh again" % (SMEGCTL, error.strerror)) from error
    try:
        answer = json.loads(out)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("error"):
        raise AgentError(describe(answer["error"]))
    if code not in statuses or not isinstance(answer, dict):
        raise AgentError(
            "smegctl %s failed (exit status %d): %s" % (arguments[0], code, (err or out).strip() or "no message")
        )
    return answer


def ping(module, members):
    """Whether each other of these members answers one ICMPv6 echo over the mesh, by name; all are asked at once."""
    others = [member for member in members if not member.get("own")]
    script = 'for a; do (ping -6 -n -q -c 1 -w %d "$a" >/dev/null 2>&1 && echo "$a") & done; wait' % PING_SECONDS
    _code, out, _err = module.run_command(["sh", "-c", script, "ping"] + [member["address"] for member in others])
    answered = set(out.split())
    return {member["name"]: member["address"] in answered for member in others}


def describe(error):
    """One line from the agent's structured error."""
    if not isinstance(error, dict):
        return str(error)
    where = "%s: " % error["path"] if error.get("path") else ""
    fix = ": %s" % error["fix"] if error.get("fix") else ""
    return "%s%s%s" % (where, error.get("message", "unknown error"), fix)
