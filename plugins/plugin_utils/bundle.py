# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that a host needs to install a version of the agent, in one file.

A bundle is a tar: the agent's wheel, the wheels it depends on, a requirements file with
their hashes, and the systemd units. It is made once for each kind of host and kept.
"""

from __future__ import annotations

import hashlib
import io
import pathlib
import tarfile
import tempfile
from collections.abc import Callable

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import controller_files, wheel, wheelhouse

ROLE_FILES = pathlib.Path(__file__).resolve().parents[2] / "roles" / "smegmesh" / "files"
SOURCE = ROLE_FILES / "smegmesh"
LOCK = ROLE_FILES / "requirements.txt"
UNITS = ROLE_FILES / "units"


def agent_version() -> str:
    """The package's version and a hash over all that a bundle is made of: C(0.1.0+5f2c11d0a9b3)."""
    digest = hashlib.sha256()
    for name, content in [*wheel.package_files(SOURCE), *_role_files()]:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{wheel.package_version(SOURCE)}+{digest.hexdigest()[:12]}"


def make_bundle(
    cache: pathlib.Path,
    version: str,
    platform: wheelhouse.Platform | None,
    source: str | None,
    tell: Callable[[str], object] = lambda text: None,
) -> pathlib.Path:
    """The bundle of this version for such hosts, from the cache if it is there. C(tell) hears of what takes time.

    Without a platform it carries no dependencies: the host takes them from its own index,
    held to the same hashes. C(source) is a directory of wheels to use instead of an index.
    """
    kind = platform.key if platform else "index"
    path = cache / "bundles" / f"smegmesh-{version}-{kind}.tar"
    with controller_files.lock(str(cache)):
        if not path.exists():
            tell(f"smegmesh {version}: collecting what the agent needs ({kind}), once")
            path.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as directory:
                content = _pack(pathlib.Path(directory), cache, version, platform, source)
            controller_files.write(str(path), content, 0o644)
    return path


def _pack(
    work: pathlib.Path, cache: pathlib.Path, version: str, platform: wheelhouse.Platform | None, source: str | None
) -> bytes:
    own = wheel.write_wheel(SOURCE, version, work)
    lock = LOCK.read_text("utf-8")
    if platform:
        lock = wheelhouse.requirements_for(lock, platform)
    members = [(f"wheels/{own.name}", own.read_bytes())]
    if platform:
        members += [(f"wheels/{path.name}", path.read_bytes()) for path in _wheels(cache, lock, platform, source)]
    pinned = f"./wheels/{own.name} --hash=sha256:{hashlib.sha256(own.read_bytes()).hexdigest()}\n"
    members.append(("requirements.txt", (lock + pinned).encode()))
    members += [(name, content) for name, content in _role_files() if name.startswith("units/")]
    return _tar(members)


def _wheels(
    cache: pathlib.Path, requirements: str, platform: wheelhouse.Platform, source: str | None
) -> list[pathlib.Path]:
    """The dependencies' wheels, from the directory or fetched once for each lock and kind of host."""
    if source:
        return wheelhouse.choose(requirements, platform, pathlib.Path(source))
    digest = hashlib.sha256(requirements.encode()).hexdigest()[:12]
    target = cache / "wheelhouses" / f"{platform.key}-{digest}"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".wheels-") as directory:
            work = pathlib.Path(directory)
            (work / "requirements.txt").write_text(requirements, "utf-8")
            (work / "wheels").mkdir()
            wheelhouse.download(work / "requirements.txt", platform, work / "wheels")
            (work / "wheels").rename(target)
    return sorted(target.glob("*.whl"))


def _role_files() -> list[tuple[str, bytes]]:
    """What of a bundle comes from the role's files as it is, by name."""
    units = [(f"units/{path.name}", path.read_bytes()) for path in sorted(UNITS.iterdir()) if path.is_file()]
    return [("pyproject.toml", (SOURCE / "pyproject.toml").read_bytes()), ("lock", LOCK.read_bytes()), *units]


def _tar(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
