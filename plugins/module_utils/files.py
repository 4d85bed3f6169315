# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile


def read(path):
    """The content of a file as bytes, None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def make_directory(path):
    """Make a directory, and those above it, for everyone to read, whatever the umask; what is there stays as it is."""
    if os.path.isdir(path):
        return
    make_directory(os.path.dirname(path))
    os.mkdir(path)
    os.chmod(path, 0o755)


def write(path, content, mode):
    """Write bytes to C(path) atomically, with its directory made if it is missing."""
    directory = os.path.dirname(path)
    make_directory(directory)
    descriptor, temporary = tempfile.mkstemp(prefix=".smegmesh-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
