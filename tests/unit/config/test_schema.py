from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from cuberouted.config import parse, restart_needed

ARTICLE = "mgmt_interface = tun1\ndata_interface = tun0\nremote_mgmt_ip = 10.200.200.5\n"


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ("", ()),
        ("hold_time = 5", ()),
        ("node = b", ("node",)),
        ("route_table = 77", ("route_table",)),
        ("route_metric = 77", ("route_metric",)),
        ("route_protocol = 77", ("route_protocol",)),
        ("cube_routed_port = 77", ("cube_routed_port",)),
        ("control_socket = /run/x", ("control_socket",)),
        ("route_table = 77\nnode = b", ("node", "route_table")),
    ],
)
def test_restart_needed_names_the_changed_keys(change, keys):
    old = parse(ARTICLE, Path("c"), "a")
    assert restart_needed(old, parse(ARTICLE + change, Path("c"), "a")) == keys


def test_another_secret_key_needs_a_restart_and_is_not_in_the_repr():
    old = parse(ARTICLE, Path("c"), "a")
    new = attrs.evolve(old, secret_key=b"s3cret")
    assert restart_needed(old, new) == ("secret_key_file",)
    assert restart_needed(new, attrs.evolve(new, secret_key_file=Path("/k"))) == ()
    assert "s3cret" not in repr(new)


@pytest.mark.parametrize("address", ["10.200.200.5", "fd00::5"])
def test_label_of_an_unnamed_peer_is_its_address(address):
    text = ARTICLE.replace("10.200.200.5", address)
    assert parse(text, Path("c"), "a").peers[0].label == address


def test_label_of_a_named_peer_is_its_name():
    text = "data_interface = tun0\n[peer B]\nmgmt_ip = 10.1.1.1\nmgmt_interface = tun1"
    assert parse(text, Path("c"), "a").peers[0].label == "B"
