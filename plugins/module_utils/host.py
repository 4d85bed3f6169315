# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the agent needs of a host, and whether it is there."""

from __future__ import annotations

import json
import os
import shutil

OLDEST = (3, 10)
CANDIDATES = ("/usr/bin/python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.14")

# Runs in the interpreter that would run the agent, which need not be the one that runs this.
_PROBE = """
import json, os, platform, sys, importlib.util
libc = platform.libc_ver()
print(json.dumps({
    "version": list(sys.version_info[:2]),
    "machine": platform.machine(),
    "libc": " ".join(libc) if libc[0] else "musl 1.2",
    "venv": importlib.util.find_spec("ensurepip") is not None and importlib.util.find_spec("venv") is not None,
}))
"""


def find_python(module, wanted=None):
    """The interpreter for the agent: its path and what it is, or None if there is none that is new enough."""
    for candidate in [wanted] if wanted else CANDIDATES:
        path = shutil.which(candidate)
        if not path:
            continue
        code, out, _err = module.run_command([path, "-I", "-c", _PROBE])
        if code:
            continue
        found = json.loads(out)
        if tuple(found["version"]) >= OLDEST:
            return dict(found, path=path)
    return None


def platform(python):
    """What decides which wheels fit."""
    return {
        "python": "%d.%d" % tuple(python["version"]),
        "machine": python["machine"],
        "libc": python["libc"],
    }


def os_family():
    """The distribution's family as package managers divide them: debian, redhat or the system's own id."""
    known = {"debian": "debian", "ubuntu": "debian", "rhel": "redhat", "fedora": "redhat", "centos": "redhat"}
    release = {}
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            for line in file:
                key, equals, value = line.strip().partition("=")
                if equals:
                    release[key] = value.strip("\"'")
    except FileNotFoundError:
        return "unknown"
    names = [release.get("ID", "")] + release.get("ID_LIKE", "").split()
    return next((known[name] for name in names if name in known), names[0] or "unknown")


def kernel_has_wireguard(module):
    """Whether the kernel does WireGuard, or would after loading its module."""
    if os.path.isdir("/sys/module/wireguard"):
        return True
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    if not modprobe:
        return False
    return module.run_command([modprobe, "--dry-run", "--quiet", "wireguard"])[0] == 0


def missing(module, python, plane):
    """What has to be installed before the agent can run: python, venv, nftables, wireguard-go."""
    lacks = []
    if python is None:
        lacks.append("python")
    elif not python["venv"]:
        lacks.append("venv")
    path = "/usr/sbin:/sbin:/usr/local/sbin:" + os.environ.get("PATH", "")
    if not shutil.which("nft", path=path):
        lacks.append("nftables")
    in_kernel = plane == "kernel" or (plane == "auto" and kernel_has_wireguard(module))
    if not in_kernel and not shutil.which("wireguard-go", path=path):
        lacks.append("wireguard-go")
    return lacks


def ip_json(module, arguments):
    """What C(ip -json ARGUMENTS) lists; nothing where it fails or is not there."""
    program = module.get_bin_path("ip", opt_dirs=["/usr/sbin", "/sbin"])
    if not program:
        return []
    code, out, _err = module.run_command([program, "-json"] + arguments)
    return json.loads(out) if code == 0 and out.strip() else []
