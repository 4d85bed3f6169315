"""Run a command as root in a throw-away emulated guest that has WireGuard in its kernel.

    python tests/agent/kernel/guest [--timeout S] [--share DIR] COMMAND [ARGUMENT...]

The guest's root is this machine's, read-only under an overlay in memory: same paths,
same interpreter, same working directory, and nothing it writes stays. Leave files that it
reads alone meanwhile: it may see half of an edit. Only DIR, mounted at /run/guest, is
shared. Output is streamed. The exit status is the command's; 124 after the timeout, 125
if the guest ended without one.
"""

import argparse
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import build

ROOT = Path(__file__).resolve().parents[4]
STARTED = time.monotonic()


def say(text: str) -> None:
    print(f"guest {time.monotonic() - STARTED:5.1f} s: {text}", file=sys.stderr, flush=True)


def main() -> int:
    options = arguments()
    if platform.machine() != "x86_64" or not shutil.which("apt-get"):
        say("this takes an x86_64 machine with Debian: the kernel is its package")
        return 125
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    cache = Path(os.environ.get("KERNEL_GUEST_CACHE", ROOT / ".cache/kernel-guest"))
    built = build.prepare(cache, say)
    with tempfile.TemporaryDirectory() as temporary:
        share = (options.share or Path(temporary)).resolve()
        share.mkdir(parents=True, exist_ok=True)
        for name in ("status", "output", "console"):
            (share / name).write_bytes(b"")
        (share / "command").write_text(script(options.command))
        say("booting")
        engine_status = boot(qemu(built, share, options.memory), share, options.timeout)
        say("off")
        return result(share, engine_status)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="guest", description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=300, help="seconds until the guest is ended")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--share", type=Path, help="directory that is /run/guest in the guest, read and write")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("say which command to run")
    return options


def script(command: list[str]) -> str:
    """What the guest's shell runs: `command`, where and with the search path that we have."""
    path = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"
    lines = [
        f"export HOME=/root LANG=C.UTF-8 PATH={shlex.quote(path)}",
        f"cd {shlex.quote(os.getcwd())}",
        f"exec {shlex.join(command)}",
    ]
    return "\n".join(lines) + "\n"


def qemu(built: Path, share: Path, memory: str) -> list[str]:
    # One processor: under emulation two are slower. No network card: the guest talks to nobody.
    return [
        shutil.which("qemu-system-x86_64") or "qemu-system-x86_64",
        *("-M", "q35", "-accel", "tcg", "-m", memory, "-nodefaults", "-no-reboot", "-display", "none"),
        *("-serial", f"file:{share}/console", "-kernel", f"{built}/kernel", "-initrd", f"{built}/initramfs"),
        *("-append", "console=ttyS0 quiet panic=-1 reboot=t mitigations=off random.trust_cpu=on"),
        *("-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
        *("-fsdev", f"local,id=share,path={share},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=share,mount_tag=share", "-device", "virtio-rng-pci"),
    ]


def boot(command: list[str], share: Path, timeout: float) -> int:
    """Run the guest and stream its output; the emulator's status, 124 after the timeout."""
    deadline = time.monotonic() + timeout
    with (share / "output").open("rb") as output, subprocess.Popen(command, stdin=subprocess.DEVNULL) as engine:
        try:
            while time.monotonic() < deadline:
                try:
                    return engine.wait(0.1)
                except subprocess.TimeoutExpired:
                    copy(output)
            say(f"ended after {timeout:g} s")
            return 124
        finally:
            engine.kill()
            engine.wait()
            copy(output)


def copy(output: BinaryIO) -> None:
    sys.stdout.buffer.write(output.read())
    sys.stdout.buffer.flush()


def result(share: Path, engine_status: int) -> int:
    if status := (share / "status").read_text().strip():
        return int(status)
    say(f"no exit status (emulator: {engine_status}); the end of its console:")
    sys.stderr.write("".join((share / "console").read_text(errors="replace").splitlines(keepends=True)[-20:]))
    return 124 if engine_status == 124 else 125


if __name__ == "__main__":
    sys.exit(main())
