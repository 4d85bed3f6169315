"""Paths of the API -> what the source says. Imported with the first connection (it loads aiohttp)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from smegmesh.control import exposition
from smegmesh.control.access import may_change, peer_credentials
from smegmesh.control.errors import Rejected
from smegmesh.control.searching import NotSearched, Searcher
from smegmesh.control.types import Problem, StatusSource

_log = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.clients")  # aiohttp has a traceback for each request that is none
_silent.setLevel(logging.CRITICAL)
_MAX_BODY = 64 * 1024
_SHUTDOWN_TIMEOUT = 1.0  # seconds for answers under way when the agent stops

_LINGERING = 1.0  # seconds for the rest of a request that is refused
_READING = ("GET", "HEAD")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refusal = Callable[[asyncio.BaseTransport | None], str | None]


def make_runner(source: StatusSource, group: int) -> web.AppRunner:
    """The application for the Unix socket; `group` is the number of the group whose members may change things."""
    application = web.Application(client_max_size=_MAX_BODY, middlewares=[_problems])
    application.add_routes([*_Reading(source).routes(), *_Changing(source, group).routes()])
    return web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_TIMEOUT)


def make_reading_runner(source: StatusSource, refusal: Refusal) -> web.AppRunner:
    """The application for the network: reads only, one request a connection; `refusal` says why one is not served."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = refusal(request.transport)
        if refused is not None:
            fix = "show an operator certificate: the role smegmesh_authority issues them"
            response: web.StreamResponse = _problem(403, "not permitted", refused, fix)
        elif request.method not in _READING:
            detail = f"{request.method} {request.path}: the API changes nothing over the network"
            response = _problem(405, "Method Not Allowed", detail, "ask with GET, or use the socket on the host")
            response.headers["Allow"] = ", ".join(_READING)
        else:
            response = await handler(request)
        response.force_close()
        return response

    application = web.Application(client_max_size=_MAX_BODY, middlewares=[guard, _problems])
    application.add_routes(_Reading(source).routes())
    return web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_TIMEOUT,
        lingering_time=_LINGERING,
        logger=_silent,
    )


class _Reading:
    def __init__(self, source: StatusSource) -> None:
        self._source = source
        self._searcher = Searcher()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/status", self.status),
            web.get("/v1/meshes", self.meshes),
            web.get("/v1/meshes/{mesh}/members", self.members),
            web.get("/v1/meshes/{mesh}/static_peers", self.static_peers),
            web.get("/metrics", self.metrics),
            web.get("/v1/meshes/{mesh}/query", self.query),
        ]

    async def status(self, _request: web.Request) -> web.Response:
        return _answer(self._source.status())

    async def meshes(self, _request: web.Request) -> web.Response:
        return _answer(self._source.status().meshes)

    async def members(self, request: web.Request) -> web.Response:
        return await self._of_mesh(request, self._source.members)

    async def static_peers(self, request: web.Request) -> web.Response:
        return await self._of_mesh(request, self._source.static_peers)

    async def _of_mesh(self, request: web.Request, ask: Callable[[str], Awaitable[object]]) -> web.Response:
        mesh = request.match_info["mesh"]
        try:
            return _answer(await ask(mesh))
        except KeyError:
            return _no_mesh(self._source, mesh)

    async def metrics(self, _request: web.Request) -> web.Response:
        body = (await self._source.metrics()).encode()
        return web.Response(body=body, headers={"Content-Type": exposition.CONTENT_TYPE})

    async def query(self, request: web.Request) -> web.Response:
        mesh, expression = request.match_info["mesh"], request.query.get("expression", "")
        try:
            members = {mesh: await self._source.members(mesh)}
            found = await self._searcher.search(expression, self._source.status(), members)
        except KeyError:
            return _no_mesh(self._source, mesh)
        except NotSearched as error:
            return _problem(400, "bad expression", f"expression {error}", "see https://jmespath.org")
        return web.Response(body=found, content_type="application/json")


class _Changing:
    def __init__(self, source: StatusSource, group: int) -> None:
        self._source = source
        self._group = group

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/reload", self.reload),
            web.post("/v1/tunnel-key", self.rotate),
            web.post("/v1/meshes/{mesh}/revocations", self.revoke),
            web.delete("/v1/meshes/{mesh}/members/{member}", self.forget),
        ]

    async def revoke(self, request: web.Request) -> web.Response:
        if not self._may_change(request):
            return _not_permitted()
        mesh = request.match_info["mesh"]
        try:
            return _answer(await self._source.revoke(mesh, await request.read()))
        except KeyError:
            return _no_mesh(self._source, mesh)
        except Rejected as error:
            return _problem(422, "not revoked", str(error), error.fix)

    async def forget(self, request: web.Request) -> web.Response:
        if not self._may_change(request):
            return _not_permitted()
        mesh = request.match_info["mesh"]
        try:
            return _answer(await self._source.forget(mesh, request.match_info["member"]))
        except KeyError:
            return _no_mesh(self._source, mesh)
        except Rejected as error:
            return _problem(422, "not forgotten", str(error), error.fix)

    async def rotate(self, request: web.Request) -> web.Response:
        if not self._may_change(request):
            return _not_permitted()
        try:
            return _answer(await self._source.rotate(force=request.query.get("force") == "true"))
        except Rejected as error:
            return _problem(409, "not rotated", str(error), error.fix)

    async def reload(self, request: web.Request) -> web.Response:
        if not self._may_change(request):
            return _not_permitted()
        return _answer(await self._source.reload())

    def _may_change(self, request: web.Request) -> bool:
        connection = request.transport.get_extra_info("socket") if request.transport is not None else None
        return connection is not None and may_change(peer_credentials(connection), self._group)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as application/problem+json; details of a fault of ours go to the log alone."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        detail = f"{request.method} {request.path}: {error.reason}"
        return _problem(error.status, error.reason, detail, "see the paths and methods of the API")
    except Exception:
        _log.exception("api: %s %s failed", request.method, request.path)
        return _problem(500, "internal error", "the agent could not answer", "see `journalctl -u smegd`")


def _answer(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _problem(status: int, title: str, detail: str, fix: str) -> web.Response:
    problem = Problem(title=title, status=status, detail=detail, fix=fix)
    return web.Response(body=msgspec.json.encode(problem), status=status, content_type="application/problem+json")


def _not_permitted() -> web.Response:
    detail = "only root, the agent's user and members of its group may do this"
    return _problem(403, "not permitted", detail, "use sudo, or join the group of the socket")


def _no_mesh(source: StatusSource, mesh: str) -> web.Response:
    known = ", ".join(each.mesh for each in source.status().meshes) or "none"
    return _problem(404, "no such mesh", f"this host is not in mesh {mesh}", f"its meshes are: {known}")
