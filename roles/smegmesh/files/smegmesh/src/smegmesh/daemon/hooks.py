"""The hooks of a mesh: what runs when its interface comes and goes, and what becomes of it.

The files are root's, the rights are the agent's (docs/architecture.md, hooks). How a
file is run comes in from outside (`hook_process.py` on a host).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from smegmesh.daemon.journal import NodeLogger
from smegmesh.declaration import HOOKS, Declaration, Hook
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.identity.keys import encode_key

Runner = Callable[[str, Mapping[str, str], Callable[[str], None]], Awaitable[None]]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class HookError(Exception):
    """A hook did not do its work, and why."""


def hook_environment(declaration: Declaration, port: int, node_name: str, node_key: bytes) -> dict[str, str]:
    """All that a hook is told, but for which one it is; nothing in it is secret."""
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "SMEGMESH_MESH": declaration.mesh,
        "SMEGMESH_INTERFACE": declaration.interface,
        "SMEGMESH_ADDRESS": str(node_address(declaration.mesh, node_key)),
        "SMEGMESH_PREFIX": str(mesh_prefix(declaration.mesh)),
        "SMEGMESH_ROLE": declaration.role.value,
        "SMEGMESH_PORT": str(port),
        "SMEGMESH_NODE_NAME": node_name,
        "SMEGMESH_NODE_KEY": encode_key(node_key),
    }


class Hooks:
    """One mesh's hooks. The files of a hook run one after another, and never two hooks at a time.

    `run_file(file, environment, say)` runs one of them, hands on what it prints, line by
    line, and raises HookError or OSError.
    """

    def __init__(
        self, declaration: Declaration, environment: Mapping[str, str], run_file: Runner, log: NodeLogger
    ) -> None:
        self._files = _files(declaration)
        self._environment = environment
        self._run_file = run_file
        self._log = log
        self._problems: dict[Hook, list[str]] = {}
        self._turn = asyncio.Lock()

    @property
    def problems(self) -> list[str]:
        """What went wrong in the last runs, but for `pre_up`, whose failure is the interface's."""
        return [problem for problems in self._problems.values() for problem in problems]

    def problems_of(self, hook: Hook) -> list[str]:
        """What went wrong in a hook's last run."""
        return self._problems.get(hook, [])

    def declared(self, hook: Hook) -> bool:
        """Whether there is anything to run."""
        return bool(self._files[hook])

    def follow(self, declaration: Declaration) -> None:
        """Take other files for the next time; problems of files that are named no more are over."""
        before, self._files = self._files, _files(declaration)
        for hook in HOOKS:
            if before[hook] != self._files[hook]:
                self._problems.pop(hook, None)

    async def prepare(self) -> None:
        """Run `pre_up`; HookError at the first file that fails, and the rest does not run."""
        async with self._turn:
            for file in self._files["pre_up"]:
                await self._run_one("pre_up", file)

    async def run(self, hook: Hook) -> None:
        """Run all files of a hook, whatever becomes of each: a failure is a warning and a problem."""
        async with self._turn:
            problems = self._problems[hook] = []
            for file in self._files[hook]:
                try:
                    await self._run_one(hook, file)
                except HookError as error:
                    self._log.warning("%s", error)
                    problems.append(str(error))

    async def finished(self) -> None:
        """Wait until none runs."""
        async with self._turn:
            return

    async def _run_one(self, hook: Hook, file: str) -> None:
        name = f"{hook} {file}"
        self._log.info("%s: runs", name)
        try:
            await self._run_file(file, {**self._environment, "SMEGMESH_HOOK": hook}, partial(self._say, name))
        except HookError as error:
            raise HookError(f"{name}: {error}") from error
        except OSError as error:
            raise HookError(f"{name}: cannot be run: {error.strerror or error}") from error
        except asyncio.CancelledError:
            self._log.warning("%s: ended before it was done", name)
            raise

    def _say(self, name: str, line: str) -> None:
        self._log.info("%s: %s", name, line)


def _files(declaration: Declaration) -> dict[Hook, tuple[str, ...]]:
    return {hook: getattr(declaration, hook) for hook in HOOKS}
