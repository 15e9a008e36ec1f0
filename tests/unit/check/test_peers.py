"""The rules of `check --peers`: each fault is found, and nothing else."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest

from cuberouted.api.report_peers import PeerAnswer, PeerCheck, PeersReport, SharedFile
from cuberouted.check.causes import without_consequences
from cuberouted.check.finding import Finding, Level, peer
from cuberouted.check.peers import PeerPings, check_peers
from cuberouted.check.pings import PingError, full_size, ping_peers

OK, UNSEEN, WARNING, PROBLEM = Level
WELL = PeerPings()

ANSWER = PeerAnswer(
    cuberouted="0.1.0",
    clock_offset=0.2,
    clock_error=0.01,
    state="up",
    detail="",
    mtu=1500,
    files=[SharedFile("ccd", "", "same"), SharedFile("crl", "", "same")],
)
PEER = PeerCheck(
    name="B",
    known_as="B",
    interface="tun1",
    address="10.200.200.2",
    tcp_port=5657,
    state="up",
    detail="",
    connection="",
    port="",
    subscribed=True,
    mtu=1500,
    answer=ANSWER,
)


def found(
    one: PeerCheck = PEER, pings: PeerPings | None = WELL, why: str = "", **answer: Any
) -> list[Finding]:
    if answer and one.answer:
        one = msgspec.structs.replace(one, answer=msgspec.structs.replace(one.answer, **answer))
    given = {} if pings is None else {"B": pings}
    return check_peers(PeersReport("A", [one]), given, why)


def bad(findings: list[Finding]) -> list[tuple[Level, str, str]]:
    return [(f.level, f.id, f.text) for f in findings if f.level is not OK]


def changed(**fields: object) -> PeerCheck:
    return msgspec.structs.replace(PEER, **fields)


def test_where_all_is_well_all_is_found_to_be_right() -> None:
    assert bad(found()) == []
    assert {f.id for f in found()} == {
        "peer-port",
        "peer-packets",
        "peer-way-back",
        "peer-clock",
        "peer-files",
    }


@pytest.mark.parametrize(
    ("one", "level", "id_", "text"),
    [
        (
            changed(port="connection refused: nobody listens there", subscribed=False, answer=None),
            PROBLEM,
            "peer-port",
            "port 5657 of 10.200.200.2 through tun1: connection refused",
        ),
        (
            changed(connection="it rejects us: our public key", subscribed=False, answer=None),
            PROBLEM,
            "peer-keys",
            "through tun1: it rejects us: our public key",
        ),
        (
            changed(state="incompatible", detail="uses protocol version 2", answer=None),
            PROBLEM,
            "peer-version",
            "uses protocol version 2",
        ),
        (
            changed(subscribed=False, answer=None),
            PROBLEM,
            "peer-way-back",
            "its daemon is not connected to A",
        ),
        (changed(answer=None), WARNING, "peer-silent", "did not answer"),
    ],
)
def test_without_a_conversation_its_cause_is_found_and_nothing_else(
    one: PeerCheck, level: Level, id_: str, text: str
) -> None:
    [only] = bad(found(one))
    assert only[:2] == (level, id_)
    assert text in only[2]


@pytest.mark.parametrize(
    ("answer", "level", "id_", "text"),
    [
        ({"clock_offset": 63.2}, WARNING, "peer-clock", "its clock is 63.2 s ahead of the clock"),
        ({"clock_offset": -5.2}, WARNING, "peer-clock", "its clock is 5.2 s behind the clock"),
        (
            {"state": "syncing", "detail": "waiting for its snapshot"},
            WARNING,
            "peer-way-back",
            "sees A as syncing: waiting for its snapshot",
        ),
        ({"mtu": 1400}, WARNING, "peer-packets", "the MTU of tun1 is 1500 here and 1400 there"),
        (
            {"files": [SharedFile("ccd", "", "differs", "missing or different there: host7")]},
            WARNING,
            "peer-files",
            "client-config-dir differs: missing or different there: host7",
        ),
        (
            {"files": [SharedFile("tls_key", "udp", "unknown", "there: Permission denied")]},
            UNSEEN,
            "peer-files",
            "tls-crypt or tls-auth of openvpn udp could not be compared: there: Permission denied",
        ),
    ],
)
def test_what_a_peer_answers_is_judged(
    answer: dict[str, Any], level: Level, id_: str, text: str
) -> None:
    [only] = bad(found(**answer))
    assert only[:2] == (level, id_)
    assert text in only[2]


def test_files_that_cannot_be_compared_for_one_reason_are_one_finding() -> None:
    files = [SharedFile(kind, "", "unknown", "here: it is so") for kind in ("ccd", "crl")]
    [only] = bad(found(files=[*files, SharedFile("tls_key", "", "same")]))
    assert only == (
        UNSEEN,
        "peer-files",
        "client-config-dir, crl-verify could not be compared: here: it is so",
    )


def test_an_offset_that_a_slow_answer_may_have_made_is_none() -> None:
    assert bad(found(clock_offset=9.0, clock_error=4.5)) == []


@pytest.mark.parametrize(
    ("pings", "level", "text"),
    [
        (PeerPings(full="message too long, mtu=1400"), PROBLEM, "packets of 1500 bytes do not get"),
        (PeerPings("no answer", "no answer"), UNSEEN, "pings are not answered (no answer)"),
        (None, UNSEEN, "is not known: ping is not installed"),
    ],
)
def test_pings_are_judged(pings: PeerPings | None, level: Level, text: str) -> None:
    [only] = bad(found(PEER, pings, "ping is not installed"))
    assert only[:2] == (level, "peer-packets")
    assert text in only[2]


def test_lost_packets_and_different_mtus_are_one_finding() -> None:
    [only] = bad(found(PEER, PeerPings(full="no answer"), mtu=1400))
    assert only[2].endswith("no answer; the MTU of tun1 is 1500 here and 1400 there")


def test_a_peer_that_is_silent_because_packets_are_lost_is_one_finding() -> None:
    [only] = bad(found(changed(answer=None), PeerPings(full="no answer")))
    assert only[1] == "peer-packets"


def test_what_the_daemon_reports_of_the_peer_is_a_consequence() -> None:
    reported = Finding(
        WARNING, "peer-not-up", "cuberouted", "reports: B is down", about=frozenset({peer("B")})
    )
    [cause] = found(changed(port="no answer in 3 s", answer=None))
    assert without_consequences([reported, cause]) == [cause]
    other = attrs.evolve(reported, about=frozenset({peer("C")}))
    assert without_consequences([other, cause]) == [other, cause]


def test_a_full_size_ping_has_the_size_of_the_mtu() -> None:
    assert full_size(PEER) == 1472
    assert full_size(changed(address="fd00::2", mtu=1280)) == 1232


def test_loopback_answers_pings_of_its_mtu_and_not_larger_ones() -> None:
    there = changed(interface="lo", address="127.0.0.1", mtu=65528)
    larger = changed(name="C", interface="lo", address="127.0.0.1", mtu=66000)
    closed = changed(name="D", interface="lo", address="127.0.0.1", port="connection refused")
    pings = ping_peers([there, larger, closed])
    assert pings.keys() == {"B", "C"}
    assert pings["B"] == WELL
    assert pings["C"].small == ""
    assert pings["C"].full != ""


def test_without_the_program_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(PingError, match="not installed"):
        ping_peers([PEER])
