"""The Containerfile and the compose example: rights, and what they have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.container.containerfile import parse

PROJECT = Path(__file__).parents[2]
STAGES = parse((PROJECT / "Containerfile").read_text("utf-8"))
COMPOSE = (PROJECT / "conf/container/compose.yml").read_text("utf-8")
UNIT = (PROJECT / "systemd/cuberouted.service").read_text("utf-8")


def test_the_container_has_one_capability_and_a_read_only_root():
    for line in ("cap_drop: [ALL]", "cap_add: [NET_ADMIN]", "read_only: true"):
        assert f"\n    {line}" in COMPOSE
    assert "\n    network_mode: host" in COMPOSE
    assert "no-new-privileges:true" in COMPOSE


def test_a_stop_has_the_time_that_the_unit_gives():
    [seconds] = re.findall(r"stop_grace_period: (\S+)", COMPOSE)
    assert f"\nTimeoutStopSec={seconds}\n" in UNIT


def test_what_is_mounted_is_in_the_image_and_in_the_command():
    build, image = STAGES
    assert image.command[0] == "/usr/local/bin/cuberouted"
    assert image.command[1].startswith("/etc/cuberouted/")
    [made] = [s.arguments[0] for s in image.steps if s.arguments[0].startswith("mkdir")]
    for directory in ("/run/cuberouted", "/run/openvpn-management", "/var/lib/cuberouted"):
        assert directory in made
        assert directory in COMPOSE
    assert build.name == "build"


def test_what_the_wheel_is_built_of_is_copied():
    copied = {word for step in STAGES[0].steps if step.name == "COPY" for word in step.arguments}
    text = (PROJECT / "pyproject.toml").read_text("utf-8")
    _, _, included = text.partition("wheel.force-include]")
    sources = re.findall(r'^"([^"/]+)', included.partition("\n[")[0], re.MULTILINE)
    assert {"cuberouted", "pyproject.toml", *sources} <= copied


def test_an_instruction_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="unknown instruction 'VOLUME /x'"):
        parse("FROM debian:13-slim\nVOLUME /x\n")
