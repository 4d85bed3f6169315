"""How the API answers: JSON with a tag to ask again by, problems, and every error as one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from aiohttp import web

from smegmesh.control.errors import Rejected
from smegmesh.control.types import Problem

_log = logging.getLogger(__name__)
_TITLES = {
    400: "bad request",
    404: "not found",
    409: "conflict",
    415: "not JSON",
    422: "not accepted",
    500: "not written",
}
_FIXES = {
    404: "the paths are in /v1/openapi.json",
    413: "send less: 64 KiB at most",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(request: web.Request, value: object, significant: object = None) -> web.Response:
    """A value as JSON.

    `significant`: the value without what always changes (times, traffic), if it has any. Who has seen what is equal in
    that is told so, without the value: a weak entity tag, RFC 9110 8.8.1.
    """
    body = msgspec.json.encode(value)
    return send(request, body, tag_of(body if significant is None else msgspec.json.encode(significant)))


def tag_of(body: bytes) -> str:
    """A tag that is equal for equal bytes."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def send(request: web.Request, body: bytes, tag: str, kind: str = "application/json") -> web.Response:
    """A body that is encoded already, unless the client has what the tag stands for."""
    headers = {"ETag": f'W/"{tag}"', "Cache-Control": "no-cache"}
    known = request.if_none_match or ()
    if any(each.value in (tag, "*") for each in known):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=kind, headers=headers)


def problem(status: int, title: str, detail: str, fix: str, reasons: Iterable[str] | None = None) -> web.Response:
    """An error as RFC 9457 has it. The title is one of ours, and the type its name."""
    return _document(
        Problem(
            title=title,
            status=status,
            detail=detail,
            fix=fix,
            type=f"urn:smegmesh:problem:{title.replace(' ', '-')}",
            reasons=msgspec.UNSET if reasons is None else list(reasons),
        )
    )


def not_permitted() -> web.Response:
    """Who asks may only read."""
    detail = "only root, the agent's user and members of its group may do this"
    return problem(403, "not permitted", detail, "use sudo, or join the group of the socket")


def did_you_mean(name: str, known: Iterable[str], listed: str = "known are") -> str:
    """What to do about a name that is none of these."""
    import difflib  # seldom needed, and not small

    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"{listed}: {', '.join(names) or 'none'}"


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as application/problem+json; details of a fault of ours go to the log alone."""
    try:
        return await handler(request)
    except Rejected as error:
        return problem(error.status, _TITLES[error.status], str(error), error.fix)
    except web.HTTPException as error:
        return _of_http(request, error)
    except ConnectionError:  # nobody is there any more to be told
        return problem(400, _TITLES[400], "the request ended before its end", "send all of it")
    except Exception:
        _log.exception("api: %s %s failed", request.method, request.path)
        return problem(500, "internal error", "the agent could not answer", "see `journalctl -u smegd`")


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    detail = f"{request.method} {request.path}: {error.reason}"
    fix = _FIXES.get(error.status, "see /v1/openapi.json")
    if isinstance(error, web.HTTPMethodNotAllowed):
        fix = f"the methods of this path are: {', '.join(sorted(error.allowed_methods))}"
    response = _document(Problem(title=error.reason, status=error.status, detail=detail, fix=fix))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _document(problem: Problem) -> web.Response:
    body = msgspec.json.encode(problem)
    return web.Response(body=body, status=problem.status, content_type="application/problem+json")
