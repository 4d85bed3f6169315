"""Make the guest's kernel and initramfs, once, from the distribution's own packages.

The kernel package is downloaded and unpacked, never installed. What was made is
cached under a digest of the files that decide it, so a change here builds anew.
"""

import fcntl
import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
KERNEL_PACKAGE = "linux-image-amd64"
MODULES = [
    *("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_rng", "wireguard", "veth", "dummy", "tun", "bridge"),
    *("nf_tables", "nft_ct", "nft_limit", "nft_log", "nft_reject_inet", "nft_nat", "nft_masq", "sch_netem"),
    *("nft_chain_nat", "nft_fib_inet"),
]
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "wg": "wireguard-tools",
    "ip": "iproute2",
    "ping": "iputils-ping",
}

APT = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600", "-o", "APT::Sandbox::User=root"]

Say = Callable[[str], None]


def prepare(cache: Path, say: Say) -> Path:
    """The directory that holds `kernel` and `initramfs`; makes it if this cache has none."""
    install_tools(say)
    digest = hashlib.sha256(Path(__file__).read_bytes() + (HERE / "init.sh").read_bytes()).hexdigest()[:12]
    built = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                package = fetch_kernel(cache, Path(work), say)
                fresh = make(package, Path(work), say)
                for outdated in cache.glob("*/kernel"):
                    shutil.rmtree(outdated.parent)
                fresh.rename(built)
    return built


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_tools(say: Say) -> None:
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool, path=search)]
    if missing:
        say(f"apt-get install {' '.join(missing)}")
        with_lists(lambda: run([*APT, "install", "-y", "--no-install-recommends", *missing], capture=True))


def fetch_kernel(cache: Path, work: Path, say: Say) -> Path:
    """The kernel's package file, from the cache if it is there."""
    if kept := sorted(cache.glob("linux-image-*.deb")):
        return kept[-1]
    download = work / "download"
    download.mkdir()
    with_lists(lambda: run([*APT, "download", kernel_package()], download, capture=True))
    (package,) = download.glob("*.deb")
    say(f"{package.name} downloaded")
    return package.rename(cache / package.name)


def kernel_package() -> str:
    """The package behind the distribution's kernel metapackage."""
    depends = run(["apt-cache", "depends", "--important", KERNEL_PACKAGE], capture=True)
    return next(line.split()[-1] for line in depends.splitlines() if "Depends:" in line)


def with_lists(action: Callable[[], object]) -> None:
    """Carry out what needs apt's package lists; again after an update if they are missing or out of date."""
    try:
        action()
    except subprocess.CalledProcessError:
        run([*APT, "update"])
        action()


def make(package: Path, work: Path, say: Say) -> Path:
    """A directory in `work` with the kernel and the initramfs of a package file."""
    result, tree = work / "built", work / "tree"
    result.mkdir()
    run(["dpkg-deb", "-x", str(package), str(tree)])
    (image,) = (tree / "boot").glob("vmlinuz-*")
    (result / "kernel").write_bytes(uncompressed(image.read_bytes()))
    initramfs = work / "initramfs"
    for name in ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "root"):
        (initramfs / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", initramfs / "bin/busybox")
    shutil.copy(HERE / "init.sh", initramfs / "init")
    (initramfs / "init").chmod(0o755)
    order = copy_modules(tree, initramfs / "modules")
    (initramfs / "order").write_text("".join(f"{name}\n" for name in order))
    (result / "initramfs").write_bytes(archive(initramfs))
    say("kernel and initramfs made")
    return result


def uncompressed(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage (boots by PVH, saves seconds of unpacking); else the image itself."""
    for magic, decompress in ((b"\xfd7zXZ\0", unxz), (b"\x1f\x8b\x08", gzip.decompress)):
        start = image.find(magic)
        if start >= 0 and (kernel := decompress(image[start:])).startswith(b"\x7fELF"):
            return kernel
    return image


def unxz(data: bytes) -> bytes:
    """The first stream of `data`; what follows it in a bzImage is not xz."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)


def copy_modules(tree: Path, target: Path) -> list[str]:
    """Put MODULES and what they need into `target`, uncompressed; their names in load order."""
    if not (tree / "lib/modules").exists():
        (tree / "lib").mkdir(exist_ok=True)
        (tree / "usr/lib/modules").rename(tree / "lib/modules")
    (version,) = (path.name for path in (tree / "lib/modules").iterdir())
    run([sbin("depmod"), "-b", str(tree), version])
    order: dict[str, None] = {}
    for module in MODULES:
        listing = run([sbin("modprobe"), "-d", str(tree), "-S", version, "--show-depends", module], capture=True)
        for kind, *path in (line.split() for line in listing.splitlines()):
            if kind != "insmod":
                continue
            source = Path(path[0])
            name = source.name.removesuffix(".xz")
            data = source.read_bytes()
            (target / name).write_bytes(unxz(data) if source.suffix == ".xz" else data)
            order.setdefault(name)
    return list(order)


def archive(directory: Path) -> bytes:
    names = "".join(f"{path.relative_to(directory)}\n" for path in sorted(directory.rglob("*")))
    command = ["cpio", "-o", "-H", "newc", "--quiet"]
    return subprocess.run(command, cwd=directory, input=names.encode(), stdout=subprocess.PIPE, check=True).stdout


def sbin(name: str) -> str:
    return shutil.which(name, path="/usr/sbin:/sbin:" + os.environ["PATH"]) or name


def run(command: list[str], directory: Path = Path("/"), capture: bool = False) -> str:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        command, cwd=directory, env=environment, check=True, text=True,
        stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if capture else None,
    )  # fmt: skip
    return result.stdout or ""
