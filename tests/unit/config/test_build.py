from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.config import Config, ConfigError, OnExit, OpenVPNConfig, PeerConfig, parse
from cuberouted.config.schema import KINDS, UNAVAILABLE
from cuberouted.config.section import key_names
from cuberouted.model import Prefix

PATH = Path("c.conf")
ARTICLE = """\
mgmt_interface = tun1
data_interface = tun0
remote_mgmt_ip = 10.200.200.5
remote_data_ip = 10.100.100.101
openvpn_mgmt_pass_file = /etc/openvpn/pass
openvpn_mgmt_port = 5656
cube_routed_port = 5657
"""
MESH = """\
mgmt_interface = tun1
data_interface = tun0
[peer vpnsrvB]
mgmt_ip = 10.200.200.5
[peer vpnsrvC]
mgmt_ip = 10.200.201.5
mgmt_interface = tun2
data_ip = 10.100.100.201
port = 7000
"""
OPENVPN_B = "[openvpn b]\nmgmt_port = 5657\ndata_interface = tun5\n"


def problems(text: str, hostname: str = "vpnsrvA") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, PATH, hostname)
    return str(caught.value).split("\n")


def test_the_article_s_form_makes_a_nameless_peer_and_one_openvpn():
    assert parse(ARTICLE, PATH, "vpnsrvA") == Config(
        path=PATH,
        node="vpnsrvA",
        openvpns=(
            OpenVPNConfig(
                name="",
                data_interface="tun0",
                mgmt_host=None,
                mgmt_port=5656,
                mgmt_socket=None,
                mgmt_pass_file=Path("/etc/openvpn/pass"),
                status_file=None,
            ),
        ),
        peers=(
            PeerConfig(
                name=None,
                mgmt_interface="tun1",
                mgmt_ip=bytes([10, 200, 200, 5]),
                data_ip=bytes([10, 100, 100, 101]),
                port=5657,
            ),
        ),
        listen=None,
        cube_routed_port=5657,
        poll_interval=1.0,
        status_interval=30.0,
        heartbeat_interval=1.0,
        hold_time=3.0,
        restart_time=30.0,
        kill_superseded_sessions=True,
        on_exit=OnExit.WITHDRAW,
        allowed_networks=None,
        route_table=254,
        route_metric=50,
        route_protocol=201,
        control_socket=Path("/run/cuberouted/control.sock"),
        max_advertisements=65536,
        log_level="info",
        log_format="text",
    )


def test_sections_make_named_peers_with_the_node_s_interface_and_port_unless_their_own():
    config = parse("cube_routed_port = 6000\n" + MESH, PATH, "vpnsrvA")
    assert config.peers == (
        PeerConfig("vpnsrvB", "tun1", bytes([10, 200, 200, 5]), None, 6000),
        PeerConfig("vpnsrvC", "tun2", bytes([10, 200, 201, 5]), bytes([10, 100, 100, 201]), 7000),
    )


def test_openvpn_sections_stand_for_several_processes():
    config = parse(MESH + "[openvpn a]\nmgmt_socket = /run/a\n" + OPENVPN_B, PATH, "vpnsrvA")
    assert config.openvpns == (
        OpenVPNConfig("a", "tun0", None, 5656, Path("/run/a"), None, None),
        OpenVPNConfig("b", "tun5", None, 5657, None, None, None),
    )


def test_every_value_of_the_node_arrives():
    config = parse(
        ARTICLE + "node = east.a\nlisten = 10.200.200.1 fd00::1\npoll_interval = 250ms\n"
        "status_interval = 1m\nheartbeat_interval = 100ms\nhold_time = 300ms\nrestart_time = 0\n"
        "kill_superseded_sessions = no\non_exit = keep\nallowed_networks = 10.0.0.0/8,fd00::/8\n"
        "route_table = 77\nroute_metric = 9\nroute_protocol = 222\ncontrol_socket = /run/x\n"
        "max_advertisements = 10\nlog_level = debug\nlog_format = text\n",
        PATH,
        "vpnsrvA",
    )
    assert (config.node, config.poll_interval, config.status_interval) == ("east.a", 0.25, 60.0)
    assert config.listen == (bytes([10, 200, 200, 1]), b"\xfd" + bytes(14) + b"\1")
    assert (config.heartbeat_interval, config.hold_time, config.restart_time) == (0.1, 0.3, 0.0)
    assert (config.kill_superseded_sessions, config.on_exit) == (False, OnExit.KEEP)
    assert config.allowed_networks == (Prefix.parse("10.0.0.0/8"), Prefix.parse("fd00::/8"))
    assert (config.route_table, config.route_metric, config.route_protocol) == (77, 9, 222)
    assert (config.control_socket, config.max_advertisements) == (Path("/run/x"), 10)
    assert (config.log_level, config.log_format) == ("debug", "text")


PUBLIC = ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")
ENCRYPTED = "secret_key_file = /k\n" + MESH.replace(
    "[peer vpnsrvC]", f"public_key = {PUBLIC[0]}\n[peer vpnsrvC]"
)


def test_keys_arrive_and_say_who_is_admitted():
    old, new = (key.encode() for key in PUBLIC)
    config = parse(ENCRYPTED + f"public_key = {new.decode()}\n", PATH, "a")
    assert config.secret_key_file == Path("/k")
    assert config.allowed_peers() == {old: "vpnsrvB", new: "vpnsrvC"}
    only = ARTICLE + f"secret_key_file = /k\nremote_public_key = {', '.join(PUBLIC)}\n"
    config = parse(only, PATH, "a")
    assert config.peers[0].public_keys == (old, new)
    assert config.allowed_peers() == {old: "10.200.200.5", new: "10.200.200.5"}
    assert parse(ARTICLE, PATH, "a").allowed_peers() == {bytes([10, 200, 200, 5]): "10.200.200.5"}


def test_encryption_for_some_peers_only_is_a_mistake_in_the_section_that_lacks_it():
    assert problems(ENCRYPTED) == [
        (
            "c.conf:7: public_key: is missing: with secret_key_file every peer needs one;"
            " `cuberouted keygen` there prints it ([peer vpnsrvC])"
        )
    ]


def test_a_key_that_two_peers_have_is_a_mistake():
    assert problems(ENCRYPTED + f"public_key = {PUBLIC[0]}\n") == [
        "c.conf:12: public_key: is the one of [peer vpnsrvB] already: every peer has its own"
    ]


def test_a_table_s_name_is_looked_up():
    text = ARTICLE + "route_table = vpn"
    assert parse(text, PATH, "a", {"vpn": 100}).route_table == 100
    assert problems(text) == [
        (
            "c.conf:8: route_table: no table is called vpn: a number, or a name in "
            "/etc/iproute2/rt_tables"
        )
    ]


def mistakes() -> Iterator[tuple[str, str, str]]:
    base = ""
    cases = (Path(__file__).parent / "mistakes.txt").read_text("utf-8")
    for paragraph in cases.split("\n\n")[1:]:
        text, mark, message = paragraph.partition("\n! ")
        if mark:
            yield base, text, message.strip()
        else:
            base = {"=== two servers": ARTICLE, "=== sections": MESH}[text]


@pytest.mark.parametrize(("base", "text", "message"), [*mistakes()])
def test_one_mistake_is_told_once(base, text, message):
    assert problems(base + text) == [f"c.conf:{message}"]


@pytest.mark.parametrize("key", ["mgmt_interface", "data_interface", "remote_mgmt_ip"])
def test_a_key_that_the_article_s_form_needs_is_missed(key):
    without = "\n".join(line for line in ARTICLE.split("\n") if not line.startswith(key))
    (problem,) = problems(without)
    assert problem.startswith(f"c.conf: {key}: is missing: ")


def test_a_node_without_peers_is_told_of_both_forms():
    assert problems("data_interface = tun0") == [
        (
            "c.conf: remote_mgmt_ip: is missing: the peer's address, or for more than one peer "
            "[peer NAME] sections"
        )
    ]


def test_a_peer_without_any_interface_is_missed_in_its_section():
    text = "data_interface = tun0\n[peer B]\nmgmt_ip = 10.1.1.1"
    assert problems(text) == [
        (
            "c.conf:2: mgmt_interface: is missing in [peer B]: the interface towards this peer; "
            "default: the node's"
        )
    ]


def test_the_node_s_openvpn_keys_cannot_stand_beside_openvpn_sections():
    assert problems("openvpn_mgmt_port = 1\n" + MESH + OPENVPN_B) == [
        (
            "c.conf:1: openvpn_mgmt_port: cannot stand beside [openvpn NAME] sections: write "
            "mgmt_port in each of them"
        )
    ]


def test_a_host_whose_name_is_no_node_name_has_to_be_named():
    (problem,) = problems(ARTICLE, "a b")
    assert problem.startswith("c.conf: node: is missing, and the host's name cannot stand in: 'a b")
    assert parse(ARTICLE + "node = x", PATH, "a b").node == "x"


def test_all_mistakes_are_told_at_once_in_the_file_s_order():
    assert problems("hold_time = x\nmgmt_interfce = tun1\n\nremote_mgmt_ip = 10.1\nport = 1") == [
        "c.conf: data_interface: is missing: OpenVPN's tun device for the clients",
        (
            "c.conf: mgmt_interface: is missing: the management subnet's interface: routes to "
            "peers leave by it"
        ),
        "c.conf:1: hold_time: 'x' is no duration: as in 300ms, 3s, 5m or 1h",
        "c.conf:2: mgmt_interfce: is unknown; the nearest known key is mgmt_interface",
        "c.conf:4: remote_mgmt_ip: '10.1' is no IP address: as in 10.200.200.5",
        "c.conf:5: port: belongs in a [peer NAME] section",
    ]


KEYS = sorted({key for kind in KINDS for key in (*key_names(kind), *UNAVAILABLE[kind])})
VALUES = st.one_of(
    st.sampled_from(
        [
            "tun0",
            "tun1",
            "10.1.1.1",
            "10.1.1.2",
            "fd00::1",
            "5656",
            "/run/x",
            "yes",
            "keep",
            "3s",
            "100ms",
            "1h",
            "main",
            "254",
            "info",
            "10.0.0.0/8",
            "10.0.0.1/8",
            "0",
            "-1",
            "# x",
            "",
        ]
    ),
    st.text(max_size=20),
)
LINES = st.one_of(
    st.tuples(st.sampled_from(KEYS), VALUES).map(" = ".join),
    st.sampled_from(["[peer a]", "[peer b]", "[peer c]", "[openvpn a]", "[openvpn b]", "[x y]"]),
    st.text(max_size=30),
)


def outcome(text: str) -> Config | ConfigError:
    try:
        return parse(text, PATH, "a")
    except ConfigError as error:
        return error


def check_outcome(text: str) -> None:
    result = outcome(text)
    if isinstance(result, Config):
        assert result.openvpns
        assert result.peers
        assert result.heartbeat_interval < result.hold_time
        return
    assert result.problems
    for problem in result.problems:
        assert problem.line is not None or problem.key is not None
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 1
        assert str(problem).isprintable()


@given(st.text())
def test_any_text_is_a_configuration_or_refused_with_places(text):
    check_outcome(text)


@given(st.lists(LINES).map("\n".join))
def test_any_lines_are_a_configuration_or_refused_with_places(text):
    check_outcome(text)


@given(st.lists(LINES, max_size=3).map("\n".join))
def test_any_lines_behind_a_good_file_are_a_configuration_or_refused_with_places(text):
    check_outcome(ARTICLE + text)
    check_outcome(MESH + text)
