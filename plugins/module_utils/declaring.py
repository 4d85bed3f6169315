# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules that declare something have in common: the agent is asked, and its answer is the result."""

from __future__ import annotations

import json

from ansible_collections.smegmesh.wireguard.plugins.module_utils import agent


def run(module, message):
    """Hand C(message) to smegctl apply and end the module with what it says; in check mode nothing is changed."""
    try:
        if agent.installed():
            answer = agent.smegctl(module, ["apply"] + (["--check"] if module.check_mode else []), message)
        elif module.check_mode:
            module.warn("there is no agent on this host yet: the declarations are predicted, not validated")
            answer = predict(message)
        else:
            raise agent.AgentError("%s is missing: install the agent first, with the role smegmesh" % agent.SMEGCTL)
    except agent.AgentError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result(answer, module._diff))


def result(answer, diff):
    """What a module returns of an answer, with the texts of the files if C(diff)."""
    changes = answer.get("changes", [])
    returned = {
        "changed": bool(answer.get("changed")),
        "reloaded": bool(answer.get("reloaded")),
        "changes": [change["path"] for change in changes],
    }
    if diff:
        returned["diff"] = [
            {
                "before_header": change["path"],
                "after_header": change["path"],
                "before": change.get("before") or "",
                "after": change.get("after") or "",
            }
            for change in changes
        ]
    return returned


def predict(message):
    """The answer of an agent that is not there yet, on a host without declarations."""
    changes = []
    for item in message.get("declarations", []) + message.get("fragments", []):
        if item["state"] == "present":
            said = {key: value for key, value in item.items() if key != "state"}
            after = json.dumps(said, indent=2, sort_keys=True) + "\n"
            changes.append({"path": path(item), "before": "", "after": after})
    return {"changed": bool(changes), "changes": changes, "reloaded": False}


def path(item):
    """The file of a declaration, or of a fragment, which has a name."""
    if "name" in item:
        return "%s/%s.d/%s.yml" % (agent.DECLARATIONS, item["mesh"], item["name"])
    return "%s/%s.yml" % (agent.DECLARATIONS, item.get("mesh"))
