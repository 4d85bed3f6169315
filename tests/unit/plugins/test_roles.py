# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles' argument specs say the same as their defaults."""

from __future__ import annotations

import pathlib

import pytest
import yaml

ROLES = pathlib.Path(__file__).parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
# Options without a default mean something by not being given.
WITHOUT_DEFAULT = {"smegmesh_endpoint"}


def read(role, path):
    return yaml.safe_load((ROLES / role / path).read_text())


@pytest.mark.parametrize("role", NAMES)
def test_specs_and_defaults_agree(role):
    options = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = read(role, "defaults/main.yml")
    assert set(options) - WITHOUT_DEFAULT == set(defaults)
    for name, default in defaults.items():
        assert options[name]["default"] == default, name


@pytest.mark.parametrize("role", NAMES)
def test_every_option_is_described_and_named_for_its_role(role):
    options = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name, option in options.items():
        assert name.startswith(role + "_"), name
        assert option["description"] and option["type"], name
