from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.config import (
    Config,
    ConfigError,
    LogFormat,
    OnExit,
    OpenVPNConfig,
    PeerConfig,
    parse,
)
from cuberouted.config.schema import SECTIONS
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


def test_two_server_form_configures_an_unnamed_peer_and_openvpn_process():
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
        mgmt_interface="tun1",
        data_interface="tun0",
        listen=None,
        cube_routed_port=5657,
        poll_interval=1.0,
        status_interval=30.0,
        heartbeat_interval=1.0,
        hold_time=3.0,
        restart_time=30.0,
        kill_superseded_sessions=True,
        allow_remote_disconnect=False,
        on_exit=OnExit.WITHDRAW,
        allowed_networks=None,
        route_table=254,
        route_metric=50,
        route_protocol=201,
        control_socket=Path("/run/cuberouted/control.sock"),
        max_advertisements=65536,
        events_kept=10_000,
        log_level="info",
        log_format=LogFormat.TEXT,
    )


def test_peer_sections_inherit_the_node_s_interface_and_port():
    config = parse("cube_routed_port = 6000\n" + MESH, PATH, "vpnsrvA")
    assert config.peers == (
        PeerConfig("vpnsrvB", "tun1", bytes([10, 200, 200, 5]), None, 6000),
        PeerConfig("vpnsrvC", "tun2", bytes([10, 200, 201, 5]), bytes([10, 100, 100, 201]), 7000),
    )


def test_openvpn_sections_configure_several_processes():
    config = parse(MESH + "[openvpn a]\nmgmt_socket = /run/a\n" + OPENVPN_B, PATH, "vpnsrvA")
    assert config.openvpns == (
        OpenVPNConfig("a", "tun0", None, 5656, Path("/run/a"), None, None),
        OpenVPNConfig("b", "tun5", None, 5657, None, None, None),
    )


def test_node_keys_are_converted():
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


def test_keys_for_other_programs_are_converted():
    config = parse(
        ARTICLE + "hook = /bin/notify 'two words'  # not a part of it\n"
        "hook_events = client_moved peer_state_changed\nhook_timeout = 500ms\n"
        "hosts_file = /run/h/clients\nhosts_domain = VPN.example.org.\n",
        PATH,
        "vpnsrvA",
    )
    assert config.hook == ("/bin/notify", "two words")
    assert config.hook_events == ("client_moved", "peer_state_changed")
    assert (config.hook_timeout, config.hosts_file) == (0.5, Path("/run/h/clients"))
    assert config.hosts_domain == "vpn.example.org"


PUBLIC = ("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")
ENCRYPTED = "secret_key_file = /k\n" + MESH.replace(
    "[peer vpnsrvC]", f"public_key = {PUBLIC[0]}\n[peer vpnsrvC]"
)


def test_public_keys_decide_which_peers_may_connect():
    old, new = (key.encode() for key in PUBLIC)
    config = parse(ENCRYPTED + f"public_key = {new.decode()}\n", PATH, "a")
    assert config.secret_key_file == Path("/k")
    assert config.allowed_peers() == {old: "vpnsrvB", new: "vpnsrvC"}
    only = ARTICLE + f"secret_key_file = /k\nremote_public_key = {', '.join(PUBLIC)}\n"
    config = parse(only, PATH, "a")
    assert config.peers[0].public_keys == (old, new)
    assert config.allowed_peers() == {old: "10.200.200.5", new: "10.200.200.5"}
    assert parse(ARTICLE, PATH, "a").allowed_peers() == {bytes([10, 200, 200, 5]): "10.200.200.5"}


def test_peer_without_a_public_key_is_reported_if_there_is_a_secret_key():
    assert problems(ENCRYPTED) == [
        (
            "c.conf:7: public_key: is missing in [peer vpnsrvC]: with secret_key_file every peer"
            " needs one (`cuberouted keygen` on the peer prints it)"
        )
    ]


def test_public_key_of_two_peers_is_reported():
    assert problems(ENCRYPTED + f"public_key = {PUBLIC[0]}\n") == [
        "c.conf:12: public_key: is already used by [peer vpnsrvB]: every peer needs its own"
    ]


def test_routing_table_may_be_named():
    text = ARTICLE + "route_table = vpn"
    assert parse(text, PATH, "a", {"vpn": 100}).route_table == 100
    assert problems(text) == [
        (
            "c.conf:8: route_table: 'vpn' is not a routing table (a number, or a name in "
            "/etc/iproute2/rt_tables)"
        )
    ]


def mistakes() -> Iterator[tuple[str, str, list[str]]]:
    base = ""
    cases = (Path(__file__).parent / "mistakes.txt").read_text("utf-8")
    for paragraph in cases.split("\n\n")[1:]:
        text, *messages = paragraph.strip().split("\n! ")
        if messages:
            yield base, text, messages
        else:
            base = {"=== two servers": ARTICLE, "=== sections": MESH}[text]


@pytest.mark.parametrize(("base", "text", "messages"), [*mistakes()])
def test_mistake_is_reported_once(base, text, messages):
    assert problems(base + text) == [f"c.conf:{message}" for message in messages]


def test_the_port_of_a_management_interface_in_a_section_is_not_free():
    text = f"web_listen = 127.0.0.1:5657\n{MESH}{OPENVPN_B}"
    where = "OpenVPN's management interface in [openvpn b]"
    what = f"c.conf:1: web_listen: 127.0.0.1:5657 is {where}: use another port"
    assert problems(text) == [what]


@pytest.mark.parametrize("key", ["mgmt_interface", "data_interface", "remote_mgmt_ip"])
def test_key_required_by_the_two_server_form_is_reported_as_missing(key):
    without = "\n".join(line for line in ARTICLE.split("\n") if not line.startswith(key))
    (problem,) = problems(without)
    assert problem.startswith(f"c.conf: {key}: is missing: ")


def test_message_on_missing_peers_mentions_both_forms():
    assert problems("data_interface = tun0") == [
        (
            "c.conf: remote_mgmt_ip: is missing: the peer's address; with more than one peer write "
            "[peer NAME] sections"
        )
    ]


def test_missing_mgmt_interface_is_reported_in_the_peer_s_section():
    text = "data_interface = tun0\n[peer B]\nmgmt_ip = 10.1.1.1"
    assert problems(text) == [
        (
            "c.conf:2: mgmt_interface: is missing in [peer B]: the interface to this peer; "
            "default: the node's mgmt_interface"
        )
    ]


def test_openvpn_keys_of_the_node_cannot_be_combined_with_openvpn_sections():
    assert problems("openvpn_mgmt_port = 1\n" + MESH + OPENVPN_B) == [
        (
            "c.conf:1: openvpn_mgmt_port: cannot be combined with [openvpn NAME] sections: write "
            "mgmt_port in a section for it"
        )
    ]


def test_node_must_be_set_if_the_host_name_is_not_a_valid_node_name():
    (problem,) = problems(ARTICLE, "a b")
    assert problem.startswith("c.conf: node: is missing, and the host's name cannot be used: 'a b'")
    assert parse(ARTICLE + "node = x", PATH, "a b").node == "x"


def test_all_mistakes_are_reported_in_the_order_of_the_file():
    assert problems("hold_time = x\nmgmt_interfce = tun1\n\nremote_mgmt_ip = 10.1\nport = 1") == [
        (
            "c.conf: mgmt_interface: is missing: the interface of the management subnet, which "
            "leads to the peers"
        ),
        "c.conf: data_interface: is missing: OpenVPN's tun device for the clients",
        "c.conf:1: hold_time: 'x' is not a valid duration (examples: 300ms, 3s, 5m)",
        "c.conf:2: mgmt_interfce: unknown key; the nearest is mgmt_interface",
        "c.conf:4: remote_mgmt_ip: '10.1' is not an IP address (example: 10.200.200.5)",
        "c.conf:5: port: belongs in a [peer NAME] section",
    ]


KEYS = sorted({key for kind in SECTIONS for key in key_names(kind)})
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


def result_of(text: str) -> Config | ConfigError:
    try:
        return parse(text, PATH, "a")
    except ConfigError as error:
        return error


def check_result(text: str) -> None:
    result = result_of(text)
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
def test_any_text_is_parsed_or_reported_with_line_numbers(text):
    check_result(text)


@given(st.lists(LINES).map("\n".join))
def test_any_lines_are_parsed_or_reported_with_line_numbers(text):
    check_result(text)


@given(st.lists(LINES, max_size=3).map("\n".join))
def test_any_lines_after_a_valid_file_are_parsed_or_reported_with_line_numbers(text):
    check_result(ARTICLE + text)
    check_result(MESH + text)
