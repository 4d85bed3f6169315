# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller builds: the wheel, the choice of dependencies, the bundle."""

from __future__ import annotations

import hashlib
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import bundle, wheel
from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.wheelhouse import (
    Platform,
    WheelhouseError,
    choose,
    download,
    requirements_for,
)

DEBIAN = Platform("3.11", "x86_64", "glibc 2.36")


def test_the_same_source_gives_the_same_wheel(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (wheel.write_wheel(bundle.SOURCE, "1.0+x", tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_pip_takes_the_wheel_and_its_commands_are_there(tmp_path):
    made = wheel.write_wheel(bundle.SOURCE, bundle.agent_version(), tmp_path)
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(made)], check=True)
    assert (target / "bin" / "smegd").exists()
    assert (target / "bin" / "smegctl").exists()
    assert {path.name for path in (target / "smegmesh").glob("*.json")} >= {"declaration.json", "agent.json"}
    assert (target / "smegmesh" / "py.typed").exists()
    assert (target / "smegmesh" / "control" / "ui" / "index.html").exists()
    assert (target / "smegmesh" / "control" / "ui" / "vendor" / "sigma.min.js").exists()


def test_the_wheel_names_what_pyproject_names(tmp_path):
    made = wheel.write_wheel(bundle.SOURCE, "9", tmp_path)
    with zipfile.ZipFile(made) as archive:
        metadata = archive.read("smegmesh-9.dist-info/METADATA").decode()
        commands = archive.read("smegmesh-9.dist-info/entry_points.txt").decode()
    pyproject = (bundle.SOURCE / "pyproject.toml").read_text()
    wanted = re.findall(r'^  "([a-z0-9]+[^"]*)",$', pyproject, re.MULTILINE)
    assert re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE) == wanted
    assert wanted
    assert re.findall(r"^(\w+) = ", commands, re.MULTILINE) == ["smegd", "smegctl"]


def test_the_version_is_the_packages_and_a_hash():
    assert re.fullmatch(re.escape(wheel.package_version(bundle.SOURCE)) + r"\+[0-9a-f]{12}", bundle.agent_version())


def test_a_package_without_a_version_is_told(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(ValueError, match="names no version"):
        wheel.package_version(tmp_path)


def test_platforms_name_the_tags_that_fit():
    assert DEBIAN.key == "cp3.11-x86_64-glibc-2.36"
    assert DEBIAN.tags[0] == "manylinux_2_36_x86_64"
    assert "manylinux_2_17_x86_64" in DEBIAN.tags
    assert "manylinux_2_37_x86_64" not in DEBIAN.tags
    assert Platform("3.12", "aarch64", "musl 1.2").tags == [f"musllinux_1_{minor}_aarch64" for minor in (2, 1, 0)]


@pytest.mark.parametrize(
    ("python", "present", "missing"),
    [
        ("3.10", "async-timeout", "win-inet-pton"),
        ("3.11", "aiohttp", "async-timeout"),
        ("3.13", "aiohttp", "typing-extensions"),
    ],
)
def test_markers_are_judged_for_the_host_not_the_controller(python, present, missing):
    text = requirements_for(bundle.LOCK.read_text(), Platform(python, "x86_64", "glibc 2.36"))
    names = [line.split("==")[0] for line in text.splitlines()]
    assert present in names
    assert missing not in names
    assert len(names) == len(set(names))
    assert all(" --hash=sha256:" in line and ";" not in line for line in text.splitlines())


def test_the_lock_holds_what_the_package_depends_on():
    pyproject = (bundle.SOURCE / "pyproject.toml").read_text()
    named = set(re.findall(r'^  "([a-z0-9]+)[^"]*",$', pyproject, re.MULTILINE))
    locked = {line.split("==")[0] for line in requirements_for(bundle.LOCK.read_text(), DEBIAN).splitlines()}
    assert named <= locked


def test_a_bundle_without_dependencies_holds_wheel_requirements_and_units(tmp_path):
    version = bundle.agent_version()
    told = []
    path = bundle.make_bundle(tmp_path, version, None, None, told.append)
    with tarfile.open(path) as tar:
        names = tar.getnames()
        requirements = tar.extractfile("requirements.txt").read().decode()
    assert f"wheels/smegmesh-{version}-py3-none-any.whl" in names
    assert {"units/smegd.service", "units/smegmesh-wg@.service", "units/smegmesh-devices"} <= set(names)
    assert re.search(r"^\./wheels/smegmesh-\S+ --hash=sha256:[0-9a-f]{64}$", requirements, re.MULTILINE)
    before = path.stat().st_mtime_ns
    assert bundle.make_bundle(tmp_path, version, None, None, told.append) == path
    assert told == [f"smegmesh {version}: collecting what the agent needs (index), once"]
    assert path.stat().st_mtime_ns == before


def locked(*wheels):
    """Requirements that are locked to these wheels."""
    hashes = {}
    for path in wheels:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        hashes.setdefault(path.name.split("-")[0], []).append(f" --hash=sha256:{digest}")
    return "".join(f"{name}==1{''.join(found)}\n" for name, found in hashes.items())


def test_a_directory_of_wheels_stands_in_for_an_index(tmp_path):
    names = {
        "a-1-cp311-cp311-manylinux_2_28_x86_64.whl": True,
        "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": True,
        "a-1-cp311-cp311-manylinux_2_37_x86_64.whl": False,
        "a-1-cp311-cp311-musllinux_1_2_x86_64.whl": False,
        "a-1-cp311-cp311-manylinux_2_17_aarch64.whl": False,
        "a-1-cp312-cp312-manylinux_2_17_x86_64.whl": False,
        "b-1-cp37-abi3-manylinux_2_28_x86_64.whl": True,
        "b-1-cp312-abi3-manylinux_2_28_x86_64.whl": False,
        "c-1-py3-none-any.whl": True,
        "c-1-py2-none-any.whl": False,
        "nonsense.whl": False,
    }
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / "a-1-cp311-cp311-manylinux_2_5_x86_64.whl").write_text("another hash")
    requirements = locked(*(tmp_path / name for name in names if "-" in name))
    found = choose(requirements, DEBIAN, tmp_path)
    assert [path.name for path in found] == sorted(name for name, fits in names.items() if fits)


def test_all_that_a_directory_lacks_is_named(tmp_path):
    for name in ("a-1-py3-none-any.whl", "b-1-py3-none-any.whl", "c-1-cp312-cp312-linux_x86_64.whl"):
        (tmp_path / name).write_text(name)
    requirements = locked(*sorted(tmp_path.iterdir())) + f"d==2.5 --hash=sha256:{'0' * 64}\n"
    (tmp_path / "b-1-py3-none-any.whl").write_text("something else")
    wanted = r"lacks wheels for Python 3\.11 on x86_64 \(glibc 2\.36\), .*: b 1, c 1, d 2\.5\. .*HOSTS=cp3\.11-x86"
    with pytest.raises(WheelhouseError, match=wanted):
        choose(requirements, DEBIAN, tmp_path)
    with pytest.raises(WheelhouseError, match=r"smegmesh_wheelhouse: .*/nowhere is no directory"):
        choose(requirements, DEBIAN, tmp_path / "nowhere")


def test_the_index_has_the_last_word(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"smegmesh==9 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(WheelhouseError, match=r"(?s)no wheels for Python 3\.11 .*smegmesh==9.*smegmesh_wheelhouse"):
        download(requirements, DEBIAN, tmp_path / "target")


def test_kinds_of_hosts_are_told_apart_by_python_machine_and_libc():
    kinds = [DEBIAN, Platform("3.12", "x86_64", "glibc 2.36"), Platform("3.11", "aarch64", "glibc 2.36")]
    kinds += [Platform("3.11", "x86_64", "glibc 2.39"), Platform("3.11", "x86_64", "musl 1.2")]
    assert len({kind.key for kind in kinds}) == len(kinds)
    assert [Platform.from_key(kind.key) for kind in kinds] == kinds
    with pytest.raises(ValueError, match="'debian12' names no kind of host: write it as cp3"):
        Platform.from_key("debian12")


def test_the_bundle_is_made_from_the_role_beside_the_plugin():
    assert pathlib.Path("roles/smegmesh/files").parts[-2:] == bundle.ROLE_FILES.parts[-2:]
