"""What can be asked of the agent: each path and method once, for the server and for the document that describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from smegmesh.control import types

Body = Literal["declaration", "changes", "node", "service", "revocation", "certificates", "token"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query; `values` are all that there are, if they are few."""

    name: str
    summary: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """`name` is that of the handler. `answer` is the type of a good answer, None if it is not JSON; `kinds` are the
    media types besides that.

    `problems` are the statuses of errors beside those that any operation may have.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Any
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    status: int = 200
    kinds: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()

    @property
    def route(self) -> str:
        """The path as the server matches it: a prefix has a slash in it, which need not be encoded."""
        return self.path.replace("{prefix}", "{prefix:.+}")


DOT = "text/vnd.graphviz"
STREAM = "text/event-stream"
_MESH = "/v1/meshes/{mesh}"
_LIVENESS = Parameter("liveness", "Only who is so", ("alive", "mute", "down"))

READING = (
    Operation("GET", "/v1/status", "status", "The agent and all its meshes", types.Status),
    Operation("GET", "/v1/meshes", "meshes", "The meshes of this host", list[types.Mesh]),
    Operation("GET", _MESH, "mesh", "One mesh of this host", types.Mesh, problems=(404,)),
    Operation(
        "GET",
        f"{_MESH}/members",
        "members",
        "The members of a mesh, by name",
        list[types.Member],
        query=(
            Parameter("role", "Only peers, or only clients", ("peer", "client")),
            _LIVENESS,
            Parameter("name", "Only who has this name"),
            Parameter("alias", "Only who has this alias"),
            Parameter("service", "Only who offers this service"),
            Parameter("home", "Only clients with this home or backup, by name"),
        ),
        problems=(400, 404),
    ),
    Operation(
        "GET",
        f"{_MESH}/members/{{member}}",
        "member",
        "One member, by node key, name or alias",
        types.Member,
        problems=(404, 409),
    ),
    Operation("GET", f"{_MESH}/routes", "routes", "What lies outside a mesh, both ways", types.Routes, problems=(404,)),
    Operation(
        "GET",
        f"{_MESH}/services",
        "services",
        "What the members of a mesh offer",
        list[types.Service],
        query=(_LIVENESS, Parameter("name", "Only services of this name")),
        problems=(400, 404),
    ),
    Operation(
        "GET",
        f"{_MESH}/static_peers",
        "static_peers",
        "Who has no agent and is carried by this host",
        list[types.StaticPeer],
        problems=(404,),
    ),
    Operation(
        "GET",
        f"{_MESH}/graph",
        "graph",
        "The topology of a mesh",
        types.Graph,
        query=(Parameter("format", "JSON, or text for Graphviz", ("json", "dot")),),
        kinds=(DOT,),
        problems=(400, 404),
    ),
    Operation(
        "GET",
        f"{_MESH}/diagnosis",
        "diagnosis",
        "What else helps to find faults in a mesh",
        types.Diagnosis,
        problems=(404,),
    ),
    Operation(
        "GET",
        f"{_MESH}/query",
        "query",
        "What a JMESPath expression finds in a mesh, as `result`",
        dict,
        query=(Parameter("expression", "See https://jmespath.org"),),
        problems=(400, 404),
    ),
    Operation("GET", "/v1/joins", "joins", "Requests to join that wait here", list[types.Join], problems=(404,)),
    Operation("GET", "/metrics", "metrics", "What is measured, for Prometheus", None, kinds=("text/plain",)),
    Operation(
        "GET",
        "/v1/events",
        "events",
        "What happens, as server-sent events; the header Last-Event-ID resumes",
        types.Event,
        query=(
            Parameter("mesh", "Only what happens in this mesh"),
            Parameter("last_event_id", "As the header, for clients that can set none"),
        ),
        kinds=(STREAM,),
        problems=(400, 404),
    ),
    Operation("GET", "/v1/health", "ready", "Whether the agent is up, and all its meshes are", types.Health),
    Operation("GET", "/v1/health/live", "live", "Whether the agent answers at all", types.Health),
    Operation("GET", "/v1/openapi.json", "openapi", "This document", dict),
)

CHANGING = (
    Operation(
        "PUT",
        _MESH,
        "declare",
        "Be in a mesh as this declaration says, in local.d",
        types.Changed,
        body="declaration",
        problems=(400, 409, 413, 415, 422),
    ),
    Operation(
        "PATCH",
        _MESH,
        "change",
        "Change keys of a declaration in local.d (RFC 7396)",
        types.Changed,
        body="changes",
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Operation("DELETE", _MESH, "leave", "Leave a mesh of local.d", types.Changed, problems=(404, 409, 422)),
    Operation(
        "PATCH",
        f"{_MESH}/node",
        "describe",
        "Change alias and description of this node in a mesh",
        types.Changed,
        body="node",
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        "PUT",
        f"{_MESH}/routes/{{prefix}}",
        "advertise",
        "Advertise a prefix outside the overlay",
        types.Changed,
        problems=(404, 409, 422),
    ),
    Operation(
        "DELETE",
        f"{_MESH}/routes/{{prefix}}",
        "withdraw",
        "Advertise it no more",
        types.Changed,
        problems=(404, 409, 422),
    ),
    Operation(
        "PUT",
        f"{_MESH}/services/{{service}}",
        "offer",
        "Offer a service",
        types.Changed,
        body="service",
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Operation(
        "DELETE",
        f"{_MESH}/services/{{service}}",
        "withhold",
        "Offer it no more",
        types.Changed,
        problems=(404, 409, 422),
    ),
    Operation(
        "POST",
        "/v1/tunnel-key",
        "rotate",
        "Replace the host's tunnel key",
        types.Rotated,
        query=(
            Parameter("force", "Though members would not learn of it", ("true", "false")),
            Parameter("check", "Say whether that would be refused, and replace nothing", ("true", "false")),
        ),
        problems=(400, 409),
    ),
    Operation(
        "POST",
        "/v1/joins",
        "approve",
        "Keep certificates (PEM) for the hosts that asked for them",
        list[types.Join],
        body="certificates",
        problems=(404, 413, 422),
    ),
    Operation(
        "DELETE",
        "/v1/joins/{fingerprint}",
        "reject",
        "Drop a request to join",
        types.Join,
        problems=(404, 422),
    ),
    Operation(
        "POST",
        f"{_MESH}/tokens",
        "invite",
        "Let who has a one-time token join, at an enroller",
        types.Invited,
        body="token",
        problems=(400, 404, 413, 415, 422),
    ),
    Operation("POST", "/v1/reload", "reload", "Read the declarations again", types.Reloaded),
    Operation(
        "POST",
        f"{_MESH}/revocations",
        "revoke",
        "Take a node out for good, as the mesh's authority says",
        types.Removed,
        body="revocation",
        problems=(404, 413, 422),
    ),
    Operation(
        "DELETE",
        f"{_MESH}/members/{{member}}",
        "forget",
        "Take out a member that is down",
        types.Removed,
        problems=(404, 422),
    ),
)
