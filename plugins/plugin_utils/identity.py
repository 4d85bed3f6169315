# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's own identity package, loaded into the controller's process.

Certificates, mesh ids and addresses have one implementation: the package in the
role's files that the hosts run. Nothing is copied, so nothing can drift.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
import types

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "smegmesh" / "files" / "smegmesh" / "src"


class IdentityUnavailable(Exception):
    """The identity package cannot be loaded on this controller: why, and what to do."""


def load(module: str) -> types.ModuleType:
    """Import C(smegmesh.identity.MODULE) from the role's files, whatever else is called smegmesh here.

    Raises IdentityUnavailable if the collection is incomplete or C(cryptography) is missing.
    """
    name = "smegmesh.identity." + module
    if not (SOURCE / "smegmesh" / "identity").is_dir():
        raise IdentityUnavailable(f"{SOURCE} is missing: install the collection again")
    sys.path.insert(0, str(SOURCE))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise IdentityUnavailable(
            f"{error}: install 'cryptography>=42' for the Python that runs Ansible ({sys.executable})"
        ) from error
    finally:
        sys.path.remove(str(SOURCE))


def load_alone(path: str) -> types.ModuleType:
    """A module of the agent that needs nothing else of it, by its path in the package.

    Raises IdentityUnavailable if the collection is incomplete.
    """
    file = SOURCE / "smegmesh" / path
    spec = importlib.util.spec_from_file_location("_smegmesh_" + file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise IdentityUnavailable(f"{file} is missing: install the collection again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
