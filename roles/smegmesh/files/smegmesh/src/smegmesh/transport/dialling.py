"""Dialling: from addresses in text to a connected socket.

Names are resolved, then the candidates raced with a small stagger (Happy
Eyeballs, RFC 8305), so that a dead address costs a fraction of a second.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from smegmesh.transport.settings import LinkSettings
from smegmesh.transport.sockets import SocketAddress, set_options

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})")
_MAX_ADDRESSES = 16


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect; `text` is the address as it was given, for errors."""

    text: str
    family: int
    address: SocketAddress


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`; ValueError shows the form."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError("not an address: write host:port or [v6]:port")
    return match["v6"] or match["host"], int(match["port"])


async def resolve(
    addresses: Iterable[str], settings: LinkSettings, lookups: Executor, failures: list[str]
) -> list[Target]:
    """The targets of all addresses, in order, names resolved by `lookups`; what fails is noted in `failures`."""
    texts = list(dict.fromkeys(addresses))[:_MAX_ADDRESSES]
    found = await asyncio.gather(*(_resolve_one(text, settings, lookups) for text in texts), return_exceptions=True)
    targets: list[Target] = []
    for text, result in zip(texts, found, strict=True):
        if isinstance(result, Exception):
            failures.append(f"{text}: {_explain(result)}")
        elif isinstance(result, BaseException):
            raise result
        else:
            targets.extend(result)
    return list(dict.fromkeys(targets))


async def _resolve_one(text: str, settings: LinkSettings, lookups: Executor) -> list[Target]:
    host, port = parse_address(text)
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        infos = await asyncio.wait_for(loop.run_in_executor(lookups, lookup), settings.connect_timeout)
    return [Target(text, info[0], info[4]) for info in infos]


async def connect_first(
    targets: list[Target], settings: LinkSettings, failures: list[str]
) -> tuple[socket.socket, Target] | None:
    """Connect to the first target that answers; it and those that failed are taken out of `targets`.

    None when none answers. Each target gets `connect_timeout` seconds, the next
    one begins after `stagger` seconds or as soon as one has failed.
    """
    waiting = list(targets)
    running: dict[asyncio.Task[socket.socket], Target] = {}
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None and (waiting or running):
            if waiting:
                target = waiting.pop(0)
                running[asyncio.ensure_future(_connect(target, settings))] = target
            pause = settings.stagger if waiting else None
            finished = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            winner = _take_done(finished[0], running, targets, failures)
        if winner is None:
            return None
        target = running.pop(winner)
        targets.remove(target)
        return winner.result(), target
    finally:
        await _abandon(list(running), winner)


def _take_done(
    done: Iterable[asyncio.Task[socket.socket]],
    running: dict[asyncio.Task[socket.socket], Target],
    targets: list[Target],
    failures: list[str],
) -> asyncio.Task[socket.socket] | None:
    """Note the attempts that failed; one that succeeded, which stays in `running`."""
    winner = None
    for task in done:
        error = task.exception()
        if error is None:
            winner = task
        else:
            target = running.pop(task)
            targets.remove(target)
            failures.append(f"{target.text}: {_explain(error)}")
    return winner


async def _abandon(losers: list[asyncio.Task[socket.socket]], winner: asyncio.Task[socket.socket] | None) -> None:
    """End the other attempts and close what they connected; when cancelled meanwhile, the winner's socket too."""
    for task in losers:
        task.cancel()
    try:
        if losers:
            await asyncio.wait(losers)
    except asyncio.CancelledError:
        if winner is not None:
            winner.result().close()
        raise
    finally:
        for task in losers:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()


async def _connect(target: Target, settings: LinkSettings) -> socket.socket:
    sock = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        set_options(sock, settings)
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_connect(sock, target.address), settings.connect_timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(error: BaseException) -> str:
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "name not found"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return "timed out"
    if isinstance(error, OSError):
        if error.errno == errno.ENETUNREACH:
            return "no route to that network"
        return error.strerror or str(error)
    return str(error) or type(error).__name__
