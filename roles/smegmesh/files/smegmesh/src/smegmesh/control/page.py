"""The page for browsers: files of the package, as they are, and what a browser may do with them."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from smegmesh.control.answers import send, tag_of

_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_HEADERS = {
    # Scripts, styles and answers of this agent alone; nothing within the files themselves, nothing framed or sent.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes  # the same by gzip
    tag: str
    kind: str


def page_routes() -> list[web.RouteDef]:
    """The page at `/`, what it is made of under `/ui/`."""
    return [web.get("/", _serve), web.get("/ui/{name:.+}", _serve)]


def is_page(path: str) -> bool:
    """Whether a path is one of the page's."""
    return path == "/" or path.startswith("/ui/")


async def _serve(request: web.Request) -> web.Response:
    file = (await asyncio.to_thread(_files)).get("index.html" if request.path == "/" else request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    response = send(request, file.packed if packed else file.body, file.tag, file.kind)
    response.headers.update(_HEADERS)
    if response.status == HTTPStatus.OK:
        response.charset = "utf-8"
        if packed:
            response.headers["Content-Encoding"] = "gzip"
    return response


@cache
def _files() -> dict[str, _File]:
    """All that there are, so that a path can name nothing else. Read once: another version is another process."""
    root = Path(__file__).with_name("ui")
    return {path.relative_to(root).as_posix(): _read(path) for path in root.rglob("*") if path.suffix in _KINDS}


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, gzip.compress(body, mtime=0), tag_of(body), _KINDS[path.suffix])
