# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dependency wheels for a kind of host, chosen by the controller for a Python that is not its own."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
import subprocess
import sys


class WheelhouseError(Exception):
    """Wheels could not be had: what pip said, and what to do."""


@dataclasses.dataclass(frozen=True)
class Platform:
    """What decides which wheel fits: Python C(3.11), machine C(x86_64), libc C(glibc 2.36) or C(musl 1.2)."""

    python: str
    machine: str
    libc: str

    def __str__(self) -> str:
        """For people."""
        return f"Python {self.python} on {self.machine} ({self.libc})"

    @property
    def key(self) -> str:
        """A name for a directory."""
        return f"cp{self.python}-{self.machine}-{self.libc.replace(' ', '-')}"

    @classmethod
    def from_key(cls, key: str) -> Platform:
        """The opposite of C(key); ValueError for what is none."""
        found = re.fullmatch(r"cp(3\.\d+)-(\w+)-(glibc|musl)-(\d+(?:\.\d+)+)", key)
        if not found:
            raise ValueError(f"{key!r} names no kind of host: write it as cp3.11-x86_64-glibc-2.36")
        python, machine, libc, version = found.groups()
        return cls(python, machine, f"{libc} {version}")

    @property
    def tags(self) -> list[str]:
        """Platform tags that fit, the newest first (PEP 600, PEP 656)."""
        kind, _space, version = self.libc.partition(" ")
        major, minor = (int(part) for part in version.split(".")[:2])
        if kind == "musl":
            return [f"musllinux_{major}_{step}_{self.machine}" for step in range(minor, -1, -1)]
        tags = [f"manylinux_{major}_{step}_{self.machine}" for step in range(minor, 4, -1)]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    def takes(self, wheel: str) -> bool:
        """Whether a wheel of that file name can be installed there (PEP 425)."""
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # as in requirements_for

        try:
            tags = parse_wheel_filename(wheel)[3]
        except InvalidWheelFilename:
            return False
        return any(tag.platform in ("any", *self.tags) and self._runs(tag.interpreter, tag.abi) for tag in tags)

    def _runs(self, interpreter: str, abi: str) -> bool:
        own = "cp" + self.python.replace(".", "")
        if abi == "none":
            return interpreter in ("py3", own)
        if abi == "abi3":
            oldest = re.fullmatch(r"cp3(\d+)", interpreter)
            return oldest is not None and int(oldest.group(1)) <= int(self.python.split(".")[1])
        return interpreter == abi == own

    @property
    def markers(self) -> dict[str, str]:
        """The environment of PEP 508 on such a host, as far as a lock file looks at it."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": self.python + ".0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def requirements_for(lock: str, platform: Platform) -> str:
    """The lines of a hash-locked requirements file that count on such a host, without their markers.

    pip judges markers by the Python that runs it, which is the controller's.
    """
    from packaging.requirements import Requirement  # a dependency of ansible-core, which not every tool here has

    chosen = []
    for block in re.sub(r"\\\n\s*", " ", lock).splitlines():
        line = block.split("#", 1)[0].strip()
        if not line:
            continue
        requirement, *hashes = line.split(" --hash=")
        parsed = Requirement(requirement)
        if parsed.marker is None or parsed.marker.evaluate(platform.markers):
            pinned = [f"{parsed.name}{parsed.specifier}", *(f"--hash={item.strip()}" for item in hashes)]
            chosen.append(" ".join(pinned))
    return "\n".join(chosen) + "\n"


def download(requirements: pathlib.Path, platform: Platform, target: pathlib.Path) -> None:
    """Fetch the wheels of a requirements file from the index into C(target).

    Raises WheelhouseError with pip's own last words.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", str(requirements)]
    command += ["--dest", str(target), "--implementation", "cp", "--python-version", platform.python]
    command += ["--abi", "cp" + platform.python.replace(".", ""), "--abi", "abi3", "--abi", "none"]
    for tag in platform.tags:
        command += ["--platform", tag]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WheelhouseError(
            f"no wheels for {platform}: {(done.stderr or done.stdout).strip()[-800:]}\n"
            "On a controller without a package index, set smegmesh_wheelhouse to a directory that `make bundle` "
            "filled; or set smegmesh_install_method: index to let the hosts fetch them"
        )


def choose(requirements: str, platform: Platform, source: pathlib.Path) -> list[pathlib.Path]:
    """The wheels in a directory that fit such a host and have a hash of these requirements, sorted.

    Raises WheelhouseError that names every requirement without one.
    """
    if not source.is_dir():
        raise WheelhouseError(f"smegmesh_wheelhouse: {source} is no directory on the controller")
    fitting: dict[str, list[pathlib.Path]] = {}
    for path in sorted(source.glob("*.whl")):
        if platform.takes(path.name):
            fitting.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(path)
    chosen, missing = [], []
    for line in requirements.splitlines():
        requirement, *hashes = line.split(" --hash=sha256:")
        found = [path for digest in hashes for path in fitting.get(digest.strip(), [])]
        chosen += found
        if not found:
            missing.append(requirement.replace("==", " "))
    if missing:
        raise WheelhouseError(
            f"smegmesh_wheelhouse: {source} lacks wheels for {platform}, with the hashes that the agent is locked to: "
            f"{', '.join(missing)}. In a checkout of the collection, where there is a package index: "
            f"make bundle WHEELHOUSE={source} HOSTS={platform.key}"
        )
    return sorted(set(chosen))
