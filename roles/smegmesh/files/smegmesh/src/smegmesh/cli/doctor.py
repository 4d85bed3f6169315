"""`smegctl doctor`: gathers facts from the agent and the host, and says what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smegmesh.cli import doctor_host, doctor_mesh, probing
from smegmesh.cli.output import plain, table
from smegmesh.control.client import Client
from smegmesh.control.errors import NotRunning, Refused
from smegmesh.declaration import Declaration, DeclarationError, load_agent, read_meshes
from smegmesh.doctor.examine import examine
from smegmesh.doctor.facts import Certificate, Facts, Kernel, Name, Unseen

AGENT_SECONDS = 4.0  # for each answer of the agent
_NAMES_SECONDS = 2.0
_HEAD = ("SEVERITY", "ID", "MESH", "PEER", "WHAT")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the agent's files are: configuration, state."""

    etc: Path
    state: Path


def gather(client: Client, places: Places, mesh: str | None) -> Facts:
    """Everything that the doctor looks at, of one mesh or of all. Refused for a mesh that the host is not in."""
    declared = read_meshes(places.etc, places.state / "local.d").declarations
    declarations = {each.mesh: each for each in declared if mesh in (None, each.mesh)}
    stopped, status = _status(client)
    asked = [each for each in status.get("meshes", ()) if mesh in (None, each["mesh"])]
    if mesh is not None and not asked and mesh not in declarations:
        raise Refused(404, f"this host is not in mesh {mesh}", "see `smegctl status`")
    before = doctor_host.reversed_packets()
    looked = [doctor_mesh.look(client, each, declarations.get(each["mesh"])) for each in asked]
    meshes, unprobed = doctor_mesh.probe(client, looked)
    ruleset, unlisted = doctor_host.ruleset()
    dated = list(_certificates(places.etc, declarations.values()))
    return Facts(
        now=time.time(),
        node=status.get("node_name", ""),
        stopped=stopped,
        problems=tuple(status.get("problems", ())),
        meshes=tuple(meshes),
        certificates=tuple(each for each in dated if isinstance(each, Certificate)),
        kernel=Kernel(
            forwarding=doctor_host.forwarding(),
            ruleset=ruleset,
            strict=doctor_host.strict_interfaces([each.interface for each in meshes if each.interface]),
            reversed=doctor_host.reversed_packets() - before,
        ),
        names=_names(places.etc, status.get("node_name", ""), asked),
        unseen=(*unprobed, *unlisted, *(each for each in dated if isinstance(each, Unseen))),
    )


def answer(facts: Facts) -> dict[str, Any]:
    """What is wrong, as JSON; `healthy` without an error."""
    findings = examine(facts)
    return {
        "node": facts.node,
        "healthy": all(finding.severity != "error" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "skipped": [asdict(each) for each in facts.unseen],
    }


def text(said: Mapping[str, Any], colour: bool) -> str:
    """The same for people: a table, how to mend each, and what was not looked at."""
    findings = said["findings"]
    parts = [table(_HEAD, [_row(each) for each in findings], colour)] if findings else ["nothing is wrong"]
    fixes = dict.fromkeys((each["id"], each["fix"]) for each in findings)
    parts.append("\n".join(f"{name}: {plain(fix)}" for name, fix in fixes))
    parts.append("\n".join(f"not looked at: {each['check']}: {plain(each['why'])}" for each in said["skipped"]))
    return "\n\n".join(filter(None, parts))


def _row(finding: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(finding[key] for key in ("severity", "id", "mesh", "peer", "what"))


def _status(client: Client) -> tuple[str | None, dict[str, Any]]:
    """Why the agent is not asked any more, and its status."""
    try:
        return None, client.status()
    except NotRunning as error:
        return str(error), {}


def _certificates(etc: Path, declarations: Iterable[Declaration]) -> Iterator[Certificate | Unseen]:
    for name in sorted({each.authority for each in declarations}):
        yield from doctor_host.certificates(etc / "authorities" / name)


def _names(etc: Path, node: str, meshes: Sequence[Mapping[str, Any]]) -> tuple[Name, ...] | None:
    """What the resolver says of this host's own names; None where the agent answers for none."""
    try:
        settings = getattr(load_agent(etc / "agent.yml"), "dns", None)
    except DeclarationError:
        return None  # the agent says so
    if settings is None:
        return None
    expected = {f"{node}.{each['mesh']}.{settings.domain}": each["address"] for each in meshes if each.get("address")}
    answers = probing.run_all({name: partial(doctor_host.resolve, name) for name in expected}, _NAMES_SECONDS)
    return tuple(Name(name, address, answers.get(name)) for name, address in expected.items())
