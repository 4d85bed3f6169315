"""Paths of the API -> what the source says. Imported with the first connection (it loads aiohttp)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import asdict, replace

from smegmesh.control import exposition, types
from smegmesh.control.access import is_browser, is_public_name, may_change, peer_credentials
from smegmesh.control.answers import (
    Handler,
    answer,
    did_you_mean,
    not_permitted,
    problem,
    problems,
    send,
    tag_of,
)
from smegmesh.control.asking import MAX_BODY, check_query, chosen, convert, find, read_mapping
from smegmesh.control.dot import dot
from smegmesh.control.errors import Rejected
from smegmesh.control.openapi import document
from smegmesh.control.operations import CHANGING, DOT, READING, STREAM, Operation
from smegmesh.control.page import is_page, page_routes
from smegmesh.control.searching import NotSearched, Searcher, TooManySearches
from smegmesh.control.streaming import stream
from smegmesh.control.types import StatusSource

_silent = logging.getLogger(f"{__name__}.clients")  # aiohttp has a traceback for each request that is none
_silent.setLevel(logging.CRITICAL)
_SHUTDOWN_TIMEOUT = 1.0  # seconds for answers under way when the agent stops

_LINGERING = 1.0  # seconds for the rest of a request that is refused
_READING = ("GET", "HEAD")
_KEPT = 60.0  # seconds that what was encoded is kept
_LASTING = 25.0  # seconds that a stream of events lasts over the network, where a connection is ended after 30
_MAX_FOLLOWING = 32  # readers of events, on each listener
_WHILE_STARTING = ("/v1/health", "/v1/health/live", "/v1/openapi.json", "/v1/reload")

Refusal = Callable[[asyncio.BaseTransport | None], str | None]
_Encode = Callable[[list[types.Member], Mapping[str, str]], tuple[bytes, str]]  # -> body, the tag that stands for it


def make_runner(source: StatusSource, group: int) -> web.AppRunner:
    """The application for the Unix socket; `group` is the number of the group whose members may change things."""
    application = web.Application(client_max_size=MAX_BODY, middlewares=[_named_here, problems, _wait(source)])
    reading = _Reading(source)
    application.add_routes([*page_routes(), *reading.all(), *_Changing(source, group).all()])
    application.on_cleanup.append(reading.close)
    return web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_TIMEOUT)


def make_reading_runner(source: StatusSource, refusal: Refusal) -> web.AppRunner:
    """The application for the network: reads only, one request a connection; `refusal` says why one is not served."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = refusal(request.transport)
        if refused is not None:
            fix = "show an operator certificate: the role smegmesh_authority issues them"
            response: web.StreamResponse = problem(403, "not permitted", refused, fix)
        elif request.method not in _READING:
            detail = f"{request.method} {request.path}: the API changes nothing over the network"
            response = problem(405, "Method Not Allowed", detail, "ask with GET, or use the socket on the host")
            response.headers["Allow"] = ", ".join(_READING)
        else:
            response = await handler(request)
        response.force_close()
        return response

    application = web.Application(client_max_size=MAX_BODY, middlewares=[guard, problems, _wait(source)])
    reading = _Reading(source, _LASTING)
    application.add_routes([*page_routes(), *reading.all()])
    application.on_cleanup.append(reading.close)
    return web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_TIMEOUT,
        lingering_time=_LINGERING,
        logger=_silent,
    )


@web.middleware
async def _named_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    if is_public_name(request.headers.get("Host", "")):
        detail = f"{request.headers['Host']} is no name of this agent's"
        return problem(421, "Misdirected Request", detail, "use an address, localhost, or a name without dots")
    return await handler(request)


def _wait(source: StatusSource) -> Any:
    """Nobody is told that there are no meshes while the agent has not read yet which there are."""

    @web.middleware
    async def wait(request: web.Request, handler: Handler) -> web.StreamResponse:
        if source.starting and request.path not in _WHILE_STARTING and not is_page(request.path):
            response = problem(503, "starting", "smegd is starting", "ask again in a few seconds")
            response.headers["Retry-After"] = "1"
            return response
        return await handler(request)

    return wait


def _route(operation: Operation, handler: Handler) -> web.RouteDef:
    async def checked(request: web.Request) -> web.StreamResponse:
        check_query(operation, request)
        return await handler(request)

    if operation.method == "GET":
        return web.get(operation.route, checked, allow_head=STREAM not in operation.kinds)
    return web.route(operation.method, operation.route, checked)


class _Reading:
    def __init__(self, source: StatusSource, lasting: float | None = None) -> None:
        self._source = source
        self._lasting = lasting
        self._encoded: dict[tuple[str, _Encode], tuple[list[types.Member], bytes, str]] = {}
        self._expiry: asyncio.TimerHandle | None = None
        self._following = 0
        self._searcher = Searcher()

    def all(self) -> list[web.RouteDef]:
        return [_route(operation, getattr(self, operation.name)) for operation in READING]

    async def close(self, _application: web.Application) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        await self._searcher.close()

    async def status(self, request: web.Request) -> web.Response:
        status = self._source.status()
        return answer(request, status, replace(status, uptime=0.0))

    async def meshes(self, request: web.Request) -> web.Response:
        return answer(request, self._source.status().meshes)

    async def joins(self, request: web.Request) -> web.Response:
        joins = self._source.joins()
        return answer(request, joins, [replace(join, age=0.0) for join in joins])

    async def metrics(self, _request: web.Request) -> web.Response:
        body = (await self._source.metrics()).encode()
        return web.Response(body=body, headers={"Content-Type": exposition.CONTENT_TYPE})

    async def query(self, request: web.Request) -> web.Response:
        mesh, expression = request.match_info["mesh"], request.query.get("expression", "")

        async def known() -> tuple[types.Status, dict[str, list[types.Member]]]:
            if request.transport is None:
                raise ConnectionResetError("who asked is gone")
            return self._source.status(), {mesh: await self._members(mesh)}

        try:
            found = await self._searcher.search(expression, known)
        except NotSearched as error:
            raise Rejected(f"expression {error}", "see https://jmespath.org", 400) from error
        except TooManySearches:
            return problem(503, "too many searches", "others search already, and more wait", "ask again in a minute")
        return web.Response(body=found, content_type="application/json")

    async def mesh(self, request: web.Request) -> web.Response:
        return answer(request, self._mesh(request.match_info["mesh"]))

    async def members(self, request: web.Request) -> web.Response:
        return await self._send_members(request, _encode_members)

    async def member(self, request: web.Request) -> web.Response:
        member = find(await self._members(request.match_info["mesh"]), request.match_info["member"])
        return answer(request, member, _without_figures([member]))

    async def routes(self, request: web.Request) -> web.Response:
        mesh = self._mesh(request.match_info["mesh"])
        return answer(request, types.Routes(advertised=mesh.advertised, reached=mesh.routes))

    async def services(self, request: web.Request) -> web.Response:
        return await self._send_members(request, _encode_services)

    async def static_peers(self, request: web.Request) -> web.Response:
        mesh = request.match_info["mesh"]
        try:
            return answer(request, await self._source.static_peers(mesh))
        except KeyError:
            raise _no_mesh(self._source, mesh) from None

    async def diagnosis(self, request: web.Request) -> web.Response:
        mesh = request.match_info["mesh"]
        try:
            return answer(request, await self._source.diagnosis(mesh))
        except KeyError:
            raise _no_mesh(self._source, mesh) from None

    async def graph(self, request: web.Request) -> web.Response:
        mesh = request.match_info["mesh"]
        try:
            graph = await self._source.graph(mesh)
        except KeyError:
            raise _no_mesh(self._source, mesh) from None
        accepted = DOT in request.headers.get("Accept", "")
        if request.query.get("format", "dot" if accepted else "json") == "json":
            return answer(request, graph)
        text = (await asyncio.to_thread(dot, graph)).encode()
        return send(request, text, tag_of(text), DOT)

    async def events(self, request: web.Request) -> web.StreamResponse:
        mesh = request.query.get("mesh")
        if mesh is not None:
            self._mesh(mesh)
        if self._following >= _MAX_FOLLOWING:
            detail = f"{_MAX_FOLLOWING} readers follow the events already"
            return problem(503, "too many readers", detail, "end one of them, or ask for the status from time to time")
        log = self._source.events
        place = log.place(request.headers.get("Last-Event-ID", request.query.get("last_event_id")))
        self._following += 1
        try:
            return await stream(request, log, place, mesh, self._lasting)
        finally:
            self._following -= 1

    async def ready(self, request: web.Request) -> web.Response:
        reasons = ["smegd is starting"] if self._source.starting else _unready(self._source.status())
        if not reasons:
            return answer(request, types.Health(status="ready"))
        fix = "see `smegctl status` and `journalctl -u smegd`"
        return problem(503, "not ready", "; ".join(reasons), fix, reasons)

    async def live(self, request: web.Request) -> web.Response:
        return answer(request, types.Health(status="live"))

    async def openapi(self, request: web.Request) -> web.Response:
        return send(request, document(), tag_of(document()))

    async def _send_members(self, request: web.Request, encode: _Encode) -> web.Response:
        """What is encoded of all members, once for each list of them, or of those that the query wants."""
        mesh = request.match_info["mesh"]
        members = await self._members(mesh)
        if request.query:
            return send(request, *await asyncio.to_thread(encode, members, dict(request.query)))
        encoded = self._encoded.get((mesh, encode))
        if encoded is None or encoded[0] is not members:
            encoded = self._encoded[mesh, encode] = members, *await asyncio.to_thread(encode, members, {})
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry = asyncio.get_running_loop().call_later(_KEPT, self._encoded.clear)
        return send(request, encoded[1], encoded[2])

    def _mesh(self, name: str) -> types.Mesh:
        found = next((mesh for mesh in self._source.status().meshes if mesh.mesh == name), None)
        if found is None:
            raise _no_mesh(self._source, name)
        return found

    async def _members(self, mesh: str) -> list[types.Member]:
        try:
            return await self._source.members(mesh)
        except KeyError:
            raise _no_mesh(self._source, mesh) from None


class _Changing:
    def __init__(self, source: StatusSource, group: int) -> None:
        self._source = source
        self._group = group

    def all(self) -> list[web.RouteDef]:
        return [_route(operation, self._permitted(getattr(self, operation.name))) for operation in CHANGING]

    async def declare(self, request: web.Request) -> web.Response:
        content = await read_mapping(request)
        return answer(request, await self._source.declaring.declare(request.match_info["mesh"], content))

    async def change(self, request: web.Request) -> web.Response:
        changes = await read_mapping(request)
        return answer(request, await self._source.declaring.change(request.match_info["mesh"], changes))

    async def leave(self, request: web.Request) -> web.Response:
        return answer(request, await self._source.declaring.leave(request.match_info["mesh"]))

    async def describe(self, request: web.Request) -> web.Response:
        asked = convert(await read_mapping(request), types.NodeChange)
        changes = {key: value for key, value in asdict(asked).items() if value is not msgspec.UNSET}
        return answer(request, await self._source.declaring.describe(request.match_info["mesh"], changes))

    async def advertise(self, request: web.Request) -> web.Response:
        mesh, prefix = request.match_info["mesh"], request.match_info["prefix"]
        return answer(request, await self._source.declaring.advertise(mesh, prefix))

    async def withdraw(self, request: web.Request) -> web.Response:
        mesh, prefix = request.match_info["mesh"], request.match_info["prefix"]
        return answer(request, await self._source.declaring.withdraw(mesh, prefix))

    async def offer(self, request: web.Request) -> web.Response:
        mesh, service = request.match_info["mesh"], request.match_info["service"]
        asked = convert(await read_mapping(request), types.ServiceOffer)
        return answer(request, await self._source.declaring.offer(mesh, service, asked.value))

    async def withhold(self, request: web.Request) -> web.Response:
        mesh, service = request.match_info["mesh"], request.match_info["service"]
        return answer(request, await self._source.declaring.withhold(mesh, service))

    async def revoke(self, request: web.Request) -> web.Response:
        mesh = request.match_info["mesh"]
        try:
            return answer(request, await self._source.revoke(mesh, await request.read()))
        except KeyError:
            raise _no_mesh(self._source, mesh) from None

    async def forget(self, request: web.Request) -> web.Response:
        mesh = request.match_info["mesh"]
        try:
            return answer(request, await self._source.forget(mesh, request.match_info["member"]))
        except KeyError:
            raise _no_mesh(self._source, mesh) from None

    async def approve(self, request: web.Request) -> web.Response:
        return answer(request, self._source.approve(await request.read()))

    async def reject(self, request: web.Request) -> web.Response:
        return answer(request, self._source.reject(request.match_info["fingerprint"]))

    async def invite(self, request: web.Request) -> web.Response:
        mesh = request.match_info["mesh"]
        token = convert(await read_mapping(request), types.NewToken)
        try:
            return answer(request, self._source.invite(mesh, token))
        except KeyError:
            raise _no_mesh(self._source, mesh) from None

    async def rotate(self, request: web.Request) -> web.Response:
        force, check = (request.query.get(name) == "true" for name in ("force", "check"))
        return answer(request, await self._source.rotate(force=force, check=check))

    async def reload(self, request: web.Request) -> web.Response:
        return answer(request, await self._source.reload())

    def _permitted(self, handler: Handler) -> Handler:
        async def permitted(request: web.Request) -> web.StreamResponse:
            if is_browser(request.headers):
                return problem(403, "not permitted", "a page in a browser may only read", "use smegctl or curl")
            return await handler(request) if self._may_change(request) else not_permitted()

        return permitted

    def _may_change(self, request: web.Request) -> bool:
        connection = request.transport.get_extra_info("socket") if request.transport is not None else None
        return connection is not None and may_change(peer_credentials(connection), self._group)


def _encode_members(members: list[types.Member], query: Mapping[str, str]) -> tuple[bytes, str]:
    found = chosen(members, query)
    return msgspec.json.encode(found), tag_of(msgspec.json.encode(_without_figures(found)))


def _encode_services(members: list[types.Member], query: Mapping[str, str]) -> tuple[bytes, str]:
    offered = [
        types.Service(
            name=name,
            value=value,
            member=member.name,
            node_key=member.node_key,
            address=member.address,
            liveness=member.liveness,
            own=member.own,
        )
        for member in members
        if query.get("liveness", member.liveness) == member.liveness
        for name, value in member.services.items()
        if query.get("name", name) == name
    ]
    body = msgspec.json.encode(sorted(offered, key=lambda each: (each.name, each.member, each.node_key)))
    return body, tag_of(body)


def _without_figures(members: list[types.Member]) -> list[types.Member]:
    return [replace(member, handshake_age=None, received=0, sent=0) for member in members]


def _unready(status: types.Status) -> list[str]:
    return [f"mesh {mesh.mesh}: {mesh.problem or mesh.state}" for mesh in status.meshes if mesh.state != "up"]


def _no_mesh(source: StatusSource, mesh: str) -> Rejected:
    known = [each.mesh for each in source.status().meshes]
    return Rejected(f"this host is not in mesh {mesh}", did_you_mean(mesh, known, "its meshes are"), 404)
