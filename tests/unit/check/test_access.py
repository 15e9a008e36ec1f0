from __future__ import annotations

from pathlib import Path

import attrs
import msgspec
import pytest

from cuberouted.api.report import OpenVPNRow, PeerRow, RouteCounts, Status
from cuberouted.check.rules import run_checks
from tests.fakes.samples import LINKS, THREE_SERVERS, config
from tests.unit.check.hosts import OK, PROBLEM, UNSEEN, WARNING, bad, cures, facts, found


def status(openvpn=("connected", ""), peer=("up", ""), problems=(), warnings=()):
    return Status(
        node="A",
        uptime=1.0,
        openvpn=[OpenVPNRow("openvpn", openvpn[0], "2.6.14", 0, openvpn[1])],
        peers=[PeerRow("B", peer[0], 0, 0.1, peer[1])],
        routes=RouteCounts(0, 0, 0),
        problems=list(problems),
        warnings=list(warnings),
    )


def reported(**other):
    return bad(daemon=True, reported=status(**other))


def test_a_missing_privilege_is_a_problem():
    said = bad(missing_capability="CAP_NET_ADMIN")
    assert said == {"privileges": (PROBLEM, "CAP_NET_ADMIN is missing")}


def test_a_unit_that_cannot_start_the_daemon_is_a_problem():
    assert bad(unit="cannot be started") == {"cuberouted.service": (PROBLEM, "cannot be started")}


def test_an_openvpn_that_cannot_be_used_is_waited_for():
    said = bad(openvpn={"": "no process listens on TCP port 5656"})
    assert said == {"openvpn": (WARNING, "no process listens on TCP port 5656")}
    several = "[openvpn one]\n[openvpn two]\nmgmt_port = 1\ndata_interface = eth0\n"
    said = bad(several + THREE_SERVERS, openvpn={"one": None, "two": "no"})
    assert said == {"openvpn two": (WARNING, "no")}


def test_a_password_file_that_cannot_be_read_is_a_problem_with_a_way_out():
    text = "openvpn_mgmt_pass_file = /etc/openvpn/pass\n" + THREE_SERVERS
    path = Path("/etc/openvpn/pass")
    level, why = bad(text, unreadable={path: "cannot be read: Permission denied"})[str(path)]
    assert level is PROBLEM
    assert why == "cannot be read: Permission denied"
    advice, _ = cures(text, unreadable={path: why})[str(path)]
    drop_in = "drop-ins/openvpn-password.conf (LoadCredential=openvpn-pass:/etc/openvpn/pass)"
    assert drop_in in advice
    missing = {path: "cannot be read: No such file or directory"}
    assert bad(text, unreadable=missing) == {str(path): (PROBLEM, missing[path])}
    assert cures(text, unreadable=missing) == {str(path): ("", "")}


def test_a_file_that_systemd_makes_is_a_problem_only_if_it_would_not():
    path = Path("/run/credentials/cuberouted.service/openvpn-pass")
    text = f"openvpn_mgmt_pass_file = {path}\n{THREE_SERVERS}"
    missing = {path: "cannot be read: No such file or directory"}
    unseen = "does not exist until systemd starts the unit"
    assert bad(text, unreadable=missing) == {str(path): (UNSEEN, unseen)}
    unpassed = {path: ("systemd does not make it", "add the drop-in")}
    for daemon in (False, True):
        said = {"unreadable": missing, "unpassed": unpassed, "daemon": daemon}
        assert bad(text, **said) == {str(path): (PROBLEM, "systemd does not make it")}
        assert cures(text, **said) == {str(path): ("add the drop-in", "")}
    assert bad(text, unreadable=missing, daemon=True) == {str(path): (PROBLEM, missing[path])}
    advice, _ = cures(text, unreadable=missing, daemon=True)[str(path)]
    assert "`systemctl restart cuberouted`" in advice


@pytest.mark.parametrize("key", ["openvpn_mgmt_socket", "openvpn_status_file"])
def test_what_cannot_be_used_or_judged_is_not_said_to_be_found(key):
    path = Path("/run/openvpn/it")
    text = f"{key} = {path}\n{THREE_SERVERS}"
    assert "openvpn" in [f.subject for f in found(text)]
    for other in (
        {"unreadable": {path: "cannot be used: Permission denied"}},
        {"unjudged": {path: "you may not look at it"}},
    ):
        findings = found(text, **other)
        assert "openvpn" not in [f.subject for f in findings]
        assert str(path) in [f.subject for f in findings]


def test_a_configuration_that_the_daemon_cannot_read_is_a_problem():
    path = config(THREE_SERVERS).path
    denied = {path: "cannot be read: Permission denied"}
    assert bad(unreadable=denied) == {str(path): (PROBLEM, denied[path])}
    assert cures(unreadable=denied) == {str(path): ("", f"chmod 644 {path}")}
    hidden = {path: "is hidden from the daemon"}
    assert bad(unreadable=hidden) == {str(path): (PROBLEM, hidden[path])}
    assert cures(unreadable=hidden) == {str(path): ("", "")}


def test_a_status_file_that_cannot_be_read_is_a_problem_with_a_way_out():
    path = Path("/run/openvpn-server/status.log")
    text = f"openvpn_status_file = {path}\n{THREE_SERVERS}"
    denied = {path: "cannot be used: Permission denied"}
    assert bad(text, unreadable=denied) == {str(path): (PROBLEM, denied[path])}
    advice, _ = cures(text, unreadable=denied)[str(path)]
    assert "/run/openvpn-status/server.log (systemd/openvpn-status.tmpfiles)" in advice


def test_what_this_user_may_not_look_at_is_told_as_such():
    path = Path("/etc/openvpn/pass")
    text = f"openvpn_mgmt_pass_file = {path}\n{THREE_SERVERS}"
    assert bad(text, unjudged={path: "no"}) == {str(path): (UNSEEN, "no")}
    assert cures(text, unjudged={path: "no"})[str(path)][0] == "run `check` as root"
    assert bad(daemon_hidden="denied") == {"cuberouted": (UNSEEN, "denied")}
    assert bad(elsewhere={"": "is far away"}) == {"openvpn": (UNSEEN, "is far away")}
    port = "10.200.200.1 port 5657"
    said = bad(busy_unseen={port: "in use"})
    assert said == {port: (UNSEEN, "in use; root can see by which program")}


def test_a_management_interface_that_others_can_reach_is_doubtful():
    how = {"": "has no password: every local user can connect"}
    assert bad(exposed=how) == {"openvpn": (WARNING, how[""])}
    assert "/run/openvpn-management" in cures(exposed=how)["openvpn"][0]


def test_a_key_is_told_and_one_that_cannot_be_used_is_a_problem():
    (finding,) = (f for f in found(public_key="x" * 40) if f.subject == "encryption")
    assert (finding.level, finding.text) == (OK, f"is on; our public key is {'x' * 40}")
    path = Path("/etc/cuberouted.key")
    configuration = attrs.evolve(config(THREE_SERVERS), secret_key_file=path)
    findings = run_checks(configuration, facts(configuration, unreadable={path: "is no key"}))
    (finding,) = (f for f in findings if f.subject == "secret_key_file")
    assert (finding.level, finding.text) == (PROBLEM, "is no key")


def test_a_hook_or_hosts_file_that_cannot_be_used_is_a_warning():
    text = "hook = /usr/bin/x -v\nhosts_file = /run/h/clients\n" + THREE_SERVERS
    assert bad(text) == {}
    why = {Path("/usr/bin/x"): "cannot be executed", Path("/run/h"): "cannot be written to"}
    assert bad(text, unreadable=why) == {
        "hook /usr/bin/x": (WARNING, "cannot be executed"),
        "hosts_file, directory /run/h": (WARNING, "cannot be written to"),
    }


def test_a_port_that_is_taken_is_a_problem_unless_cuberouted_has_it():
    said = bad(busy={"10.200.200.1 port 5657": "Address already in use"})
    text = "cannot listen: Address already in use"
    assert said == {"10.200.200.1 port 5657": (PROBLEM, text)}
    findings = found(own_ports={"10.200.200.1 port 5657": "process 7"})
    assert {f.level for f in findings} == {OK}
    (finding,) = (f for f in findings if f.subject == "10.200.200.1 port 5657")
    assert finding.text == "is in use by cuberouted itself (process 7)"


@pytest.mark.parametrize(("daemon", "level"), [(False, UNSEEN), (True, PROBLEM)])
def test_a_credential_is_waited_for_while_the_unit_does_not_run(daemon, level):
    path = "/run/credentials/cuberouted.service/openvpn-pass"
    text = f"openvpn_mgmt_pass_file = {path}\n{THREE_SERVERS}"
    [(subject, (said, _))] = bad(text, unreadable={Path(path): "gone"}, daemon=daemon).items()
    assert (subject, said) == (path, level)


def test_a_daemon_that_runs_and_reports_nothing_is_all_right():
    assert reported() == {}
    findings = [f for f in found(daemon=True, reported=status()) if f.subject == "cuberouted"]
    assert [(f.level, f.text) for f in findings] == [
        (OK, "is running with this control socket"),
        (OK, "reports: openvpn is connected"),
        (OK, "reports: peer B is up"),
    ]


@pytest.mark.parametrize(
    ("other", "level", "text"),
    [
        ({"openvpn": ("refused", "no")}, PROBLEM, "reports: openvpn is refused: no"),
        ({"openvpn": ("waiting", "no")}, WARNING, "reports: openvpn is waiting: no"),
        ({"openvpn": ("connected", "no")}, WARNING, "reports: openvpn is connected: no"),
        ({"peer": ("down", "")}, WARNING, "reports: peer B is down"),
        ({"peer": ("incompatible", "no")}, PROBLEM, "reports: peer B is incompatible: no"),
        ({"problems": ["a route is shadowed"]}, PROBLEM, "reports: a route is shadowed"),
        ({"warnings": ["it may list ghosts"]}, WARNING, "reports: it may list ghosts"),
    ],
)
def test_what_the_daemon_reports_is_repeated(other, level, text):
    assert reported(**other) == {"cuberouted": (level, text)}


def test_one_of_several_openvpns_that_is_absent_is_not_told_twice():
    rows = [OpenVPNRow("udp", "connected", "2.6.14", 0), OpenVPNRow("tcp", "waiting", "", 0, "no")]
    text = "[openvpn udp]\n[openvpn tcp]\nmgmt_port = 1\ndata_interface = eth0\n" + THREE_SERVERS
    several = msgspec.structs.replace(status(), openvpn=rows)
    openvpn = {"udp": None, "tcp": "no process listens"}
    said = bad(text, daemon=True, reported=several, openvpn=openvpn)
    assert said == {"openvpn tcp": (WARNING, "no process listens")}
    findings = found(text, daemon=True, reported=several)
    assert "reports: openvpn udp is connected" in [f.text for f in findings]


def test_what_the_daemon_waits_for_is_not_told_twice():
    waiting = status(("waiting", "no"), problems=["waiting for interface tun0"])
    assert bad(daemon=True, reported=waiting, openvpn={"": "gone"}) == {
        "openvpn": (WARNING, "gone")
    }


def test_a_daemon_that_does_not_answer_is_doubtful():
    assert bad(daemon=True, reported="does not answer") == {
        "cuberouted": (WARNING, "does not answer")
    }


ROLE = f"""openvpn_service = db
{THREE_SERVERS}
[service db]
address = 10.100.100.200
"""
WITHOUT_TUN0 = tuple(link for link in LINKS if link.name != "tun0")
ABSENT = "/run/server.sock does not exist"
OF_OPENVPN = {"openvpn-absent", "interface-missing", "openvpn-not-connected"}


@pytest.mark.parametrize(
    ("row", "level"), [(("standby", "service db is at B"), OK), (("waiting", ABSENT), WARNING)]
)
def test_an_openvpn_on_standby_need_not_be_there(row, level):
    text = f"allowed_networks = 10.100.100.0/24\n{ROLE}"
    seen = found(text, WITHOUT_TUN0, openvpn={"": ABSENT}, daemon=True, reported=status(row))
    about = [finding for finding in seen if finding.id in OF_OPENVPN]
    assert max(finding.level.severity for finding in about) == level.severity
    absent = next(finding.text for finding in about if finding.id == "openvpn-absent")
    assert absent == (ABSENT if level is WARNING else f"does not have to run here: {row[1]}")


def test_without_a_daemon_it_is_not_known_where_its_service_is():
    text = f"allowed_networks = 10.100.100.0/24\n{ROLE}"
    said = bad(text, WITHOUT_TUN0, openvpn={"": ABSENT})
    assert not said.keys() & {"openvpn", "tun0"}
