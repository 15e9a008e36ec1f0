"""The Debian packages' sources: what must agree with the rest of the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cuberouted import __version__
from cuberouted.config import ConfigError, load
from cuberouted.config.load import NO_SETTING

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "debian"
CONFFILE = DEBIAN / "cuberouted.conf"


def test_the_package_has_the_version_of_the_program():
    first = (DEBIAN / "changelog").read_text("utf-8").partition("\n")[0]
    assert first.startswith(f"cuberouted ({__version__}) ")


def test_debian_s_packages_are_those_of_pyproject_with_its_lower_bounds():
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {"attrs": "attr", "pyzmq": "zmq"}
    parts = [line.split(">=") for line in asked]
    expected = {(f"python3-{names.get(name, name)}", bound) for name, bound in parts}
    text = (DEBIAN / "control").read_text("utf-8") + (DEBIAN / "rules").read_text("utf-8")
    assert set(re.findall(r"(python3-\w+) \(>= (.+?)\)", text)) == expected


def test_units_users_and_directories_have_one_text():
    links = {path.name: path.readlink() for path in DEBIAN.iterdir() if path.is_symlink()}
    names = {"cuberouted.service", "cuberouted@.service", "cuberouted.sysusers"}
    names.add("cuberouted.tmpfiles")
    assert links == {name: Path("../systemd") / name for name in names}
    assert all((DEBIAN / name).is_file() for name in names)


def test_the_configuration_of_the_package_is_none():
    with pytest.raises(ConfigError) as error:
        load(CONFFILE)
    assert str(error.value) == f"{CONFFILE}: {NO_SETTING}"


def test_the_configuration_of_the_package_without_its_marks_is_one(tmp_path):
    text = re.sub(r"^#(\w+ = )", r"\1", CONFFILE.read_text("utf-8"), flags=re.MULTILINE)
    file = tmp_path / "cuberouted.conf"
    file.write_text(text)
    (peer,) = load(file).peers
    assert str(peer.mgmt_ip)


def test_what_debian_12_lacks_is_pinned():
    lock = (ROOT / "requirements-dev.lock").read_text("utf-8")
    (pinned,) = re.findall(
        r"^msgspec==\S+ \\\n((?: +--hash=sha256:\S+(?: \\)?\n)+) +# via", lock, re.MULTILINE
    )
    assert pinned.count("--hash=") > 2


@pytest.mark.parametrize("name", ["preinst", "postinst", "prerm", "postrm"])
def test_debhelper_may_add_to_the_maintainer_scripts(name):
    text = (DEBIAN / f"cuberouted.{name}").read_text("utf-8")
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert text.count("\n#DEBHELPER#\n") == 1
