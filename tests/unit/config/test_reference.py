"""The files in conf/: each is valid, and the reference documents every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from cuberouted.config import parse
from cuberouted.config.build import KERNEL_TABLES
from cuberouted.config.schema import SECTIONS, SHORTHANDS, Reload, key_fields

CONF = Path(__file__).parents[3] / "conf"
FILES = sorted(CONF.rglob("*.conf*"))  # the others are for Prometheus and the like
REFERENCE = CONF / "cuberouted.conf.reference"
LINE = re.compile(r"#?(?:\[(?P<kind>[a-z]+) \S+\]|(?P<key>[a-z_]+) = (?P<value>.+))")


def documented() -> Iterator[tuple[str, str, str]]:
    """Kind of section, key and value of every key in the reference, commented out or not."""
    kind = ""
    for line in REFERENCE.read_text("utf-8").splitlines():
        if match := LINE.fullmatch(line):
            kind = match["kind"] or kind
            if match["key"]:
                yield kind, match["key"], match["value"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_in_conf_is_valid(path):
    assert parse(path.read_text("utf-8"), path, "some-host").peers


def test_files_of_the_article_have_its_seven_keys_and_differ_in_the_peer():
    a, b = (
        parse((CONF / "article" / name).read_text("utf-8"), Path(name), name)
        for name in ("vpnsrvA.conf", "vpnsrvB.conf")
    )
    assert attrs.evolve(a, path=b.path, node=b.node, peers=b.peers) == b
    for name in ("vpnsrvA.conf", "vpnsrvB.conf"):
        lines = (CONF / "article" / name).read_text("utf-8").splitlines()
        assert [line.split(" = ")[0] for line in lines if not line.startswith("#")] == [
            "mgmt_interface",
            "data_interface",
            "remote_mgmt_ip",
            "remote_data_ip",
            "openvpn_mgmt_pass_file",
            "openvpn_mgmt_port",
            "cube_routed_port",
        ]


def test_three_servers_are_each_other_s_peers():
    configs = [
        parse(path.read_text("utf-8"), path, "x")
        for path in sorted((CONF / "three-servers").iterdir())
    ]
    assert [config.node for config in configs] == ["vpnsrvA", "vpnsrvB", "vpnsrvC"]
    for config in configs:
        others = {other.node for other in configs} - {config.node}
        assert {peer.name for peer in config.peers} == others
    for peer in ("vpnsrvA", "vpnsrvB", "vpnsrvC"):
        assert len({p.data_ip for c in configs for p in c.peers if p.name == peer}) == 1


def test_reference_has_every_key_once():
    known = [(kind, key) for kind, section in SECTIONS.items() for key in key_fields(section)]
    known += [("", key) for key in SHORTHANDS]
    assert sorted((kind, key) for kind, key, _ in documented()) == sorted(known)


def test_reference_shows_valid_values_and_the_defaults():
    for kind, key, value in documented():
        section, name = SHORTHANDS.get(key, (kind, key))
        field = key_fields(SECTIONS[section])[name]
        shown = KERNEL_TABLES.get(value) or field.metadata["convert"](value)
        if field.default or field.default is False:
            assert shown == field.default, key


def test_reference_lists_the_keys_that_need_a_restart():
    text = " ".join(REFERENCE.read_text("utf-8").replace("\n#", " ").split())
    (listed,) = re.findall(r"A reload applies a change of any key except ([a-z_, ]+):", text)
    restart = [
        key
        for section in SECTIONS.values()
        for key, field in key_fields(section).items()
        if field.metadata["reload"] is Reload.RESTART
    ]
    assert re.split(r", | and ", listed) == restart
