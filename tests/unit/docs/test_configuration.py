"""The reference of the configuration, from conf/cuberouted.conf.reference."""

from __future__ import annotations

from pathlib import Path

from cuberouted_docs.configuration import (
    anchor_of,
    introduction,
    is_default,
    overview,
    prose,
    read,
    reference,
)

from cuberouted.config.schema import SECTIONS, SHORTHANDS, key_fields

FILE = (Path(__file__).parents[3] / "conf/cuberouted.conf.reference").read_text("utf-8")
KEYS = [(kind, key) for kind, section in SECTIONS.items() for key in key_fields(section)]

EXAMPLE = """\
# title
#
# What the file is.
#
# Syntax: `a = b`.

# -- This node -----
#
# About the *part*.

# The name. Default: the host's name.
#
# More.
# Example:
node = vpnsrvA

# Two times.
#heartbeat_interval = 1s
#hold_time = 3s

# -- [peer NAME]: a section ---
#
#[peer vpnsrvB]

# Its port.
#port = 5657
"""


def test_parts_and_entries_are_read():
    about, parts = read(EXAMPLE)
    assert about == "Syntax: `a = b`."
    assert [(part.title, part.text) for part in parts] == [
        ("This node", "About the *part*."),
        ("[peer NAME]: a section", ""),
    ]
    assert [entry.keys for part in parts for entry in part.entries] == [
        (("node", "vpnsrvA"),),
        (("heartbeat_interval", "1s"), ("hold_time", "3s")),
        (("port", "5657"),),
    ]
    assert [entry.kind for part in parts for entry in part.entries] == ["", "", "peer"]


def test_a_key_has_its_text_its_value_and_whether_a_restart_is_needed():
    text = reference(EXAMPLE)
    assert (
        '<span id="node"></span>`node`\n: The name. Default: the host\'s name.\n\n  More.\n\n'
        "  Example: `node = vpnsrvA`\n\n  A change needs a restart of the daemon.\n"
    ) in text
    listing = "  ```\n  heartbeat_interval = 1s\n  hold_time = 3s\n  ```\n"
    assert f"\n: Two times.\n\n  Defaults:\n\n{listing}" in text
    assert "About the \\*part\\*." in text
    assert '## \\[peer NAME\\]: a section\n\n<span id="peer-port"></span>`port`\n' in text


def test_names_of_keys_and_sections_are_code():
    assert prose("hold_time, `a hold_time` and x_hold_time in [peer NAME], [x]: port") == (
        "`hold_time`, `a hold_time` and x\\_hold\\_time in `[peer NAME]`, \\[x\\]: port"
    )


def test_a_value_is_the_default_or_an_example():
    assert is_default("", "hold_time", "3s")
    assert is_default("", "route_table", "main")
    assert not is_default("", "hold_time", "4s")
    assert not is_default("peer", "port", "5657")  # the default is the node's port
    assert is_default("", "openvpn_mgmt_port", "5656")  # stands for mgmt_port of [openvpn NAME]


def test_the_reference_has_every_key_with_an_anchor():
    text = reference(FILE)
    for kind, key in [*KEYS, *(("", key) for key in SHORTHANDS)]:
        assert text.count(f'<span id="{anchor_of(kind, key)}"></span>`{key}`') == 1


def test_the_overview_has_every_key_with_its_meaning():
    rows = [line for line in overview().splitlines() if line.startswith("| <a ")]
    assert len(rows) == len(KEYS)
    assert all(f'href="#{anchor_of(*key)}"' in row for key, row in zip(KEYS, rows, strict=True))


def test_no_text_of_the_file_is_lost():
    about, parts = read(FILE)
    read_lines = [about, *(part.text for part in parts)]
    read_lines += [entry.text for part in parts for entry in part.entries]
    known = {line.strip() for text in read_lines for line in text.splitlines()}
    comments = [line[2:].strip() for line in FILE.splitlines() if line.startswith("# ")]
    lost = [line for line in comments if line not in known and not line.startswith("-- ")]
    assert lost[0] == "cuberouted.conf: all keys"
    assert " ".join(lost[1:]) == (
        "This file is valid: it configures a node with one peer. A line `#key = value` shows a key"
        " that is not set; the value is its default, or an example if the comment says so."
    )
    assert "Durations have the unit" in introduction(FILE)
