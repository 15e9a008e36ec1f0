from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cuberouted.events import (
    ClientKilled,
    OpenVPNStateChanged,
    OpenVPNWarning,
    OpenVPNWarningBegan,
    OpenVPNWarningEnded,
)
from cuberouted.model import Prefix, SessionId
from cuberouted.openvpn.connection import _SESSION_ENDED
from cuberouted.openvpn.health import OpenVPNState
from cuberouted.openvpn.management_source import LEAVE_TIMEOUT
from cuberouted.openvpn.polling import PollIntervals
from tests.fakes.openvpn import CLIENT_KILL_TIME, FakeOpenVPN
from tests.unit.openvpn.harness import HOLD_TIME, INTERVALS, Watched, config, settle, until, watched

A, B = b"10.9.0.50", b"10.9.0.51"
SWITCHES = {b"state on", b"log on"}


def state(w: Watched) -> OpenVPNState:
    return w.source.status().state


async def test_a_connecting_client_is_reported_at_once_and_then_confirmed(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        began = trio.current_time()
        w.openvpn.connect(b"host1", A, address6=b"fd00::50", networks=(b"192.168.50.0/24",))
        await wait_all_tasks_blocked()
        assert w.recorder.at == began
        await settle()
        first, second = w.recorder.updates[1:]
        assert [str(claim.prefix) for claim in first.routes] == ["10.9.0.50/32"]
        assert first.routes[0].announced
        assert not first.routes[0].confirmed
        assert all(claim.confirmed and claim.announced for claim in second.routes)
        assert set(w.recorder.names) == {"10.9.0.50/32", "fd00::50/128", "192.168.50.0/24"}


async def test_a_leaving_client_is_withdrawn_at_once(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        cid = w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.disconnect(cid)
        await settle()
        assert w.recorder.names == {}


@pytest.mark.parametrize("version", ["2.3", "2.6", "2.7"])
async def test_its_log_line_withdraws_a_client_before_any_listing(
    autojump_clock: MockClock, version: str
) -> None:
    async with watched(FakeOpenVPN(version)) as w:
        cid = w.openvpn.connect(b"host1", A, address6=b"fd00::50", networks=(b"192.168.50.0/24",))
        w.openvpn.connect(b"host2", B)
        await settle()
        w.openvpn.fall_silent()
        w.openvpn.disconnect(cid)
        await settle()
        assert w.recorder.names == {"10.9.0.51/32": b"host2"}


@pytest.mark.parametrize(
    ("real", "with_port"),
    [
        (b"192.0.2.1:4", True),
        (b"udp4:192.0.2.1:4", True),
        (b"tcp4-server:192.0.2.1:4", True),
        (b"udp6:[2001:db8::1]:4", True),
        (b"192.0.2.1", False),
        (b"2001:db8::1", False),
        (b"2001::1:4", False),
    ],
)
def test_only_a_real_address_with_a_port_identifies_a_session(real: bytes, with_port: bool) -> None:
    line = b"a/b/%s SIGUSR1[soft,ping-restart] received, client-instance restarting" % real
    found = _SESSION_ENDED.fullmatch(line)
    assert (found and found.groupdict()) == ({"name": b"a/b", "real": real} if with_port else None)


@pytest.mark.parametrize(
    "line",
    [
        b"host2/192.0.2.1:1024 SIGTERM[soft,x] received, client-instance exiting",
        b"host1/192.0.2.1:1025 SIGTERM[soft,x] received, client-instance exiting",
        b"host1/192.0.2.1 SIGTERM[soft,x] received, client-instance exiting",
        (
            b"eve/192.0.2.9:7 IV_X=host1/192.0.2.1:1024 SIGTERM[soft,x] received,"
            b" client-instance exiting"
        ),
        b"host1/192.0.2.1:1024 SIGTERM[soft,x] received, client-instance exiting/192.0.2.9:7 x",
        b"host1/192.0.2.1:1024 SIGTERM[soft,x]/192.0.2.9:7 [x] received, client-instance exiting",
    ],
)
async def test_other_log_lines_withdraw_no_session(autojump_clock: MockClock, line: bytes) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.fall_silent()
        w.openvpn.say(b">LOG:1,,%s\r\n" % line)
        await settle()
        assert w.recorder.names == {"10.9.0.50/32": b"host1"}


PUSH_REPLY = b"SENT CONTROL [host1]: 'PUSH_REPLY,peer-id 0' (status=1)"
HOST1 = b"host1/192.0.2.1:1024"
INITIAL = HOST1 + b" TLS: Initial packet from [AF_INET]192.0.2.1:1024, sid=1dfa9f 0b3c"


@pytest.mark.parametrize("version", ["2.3", "2.6", "2.7"])
async def test_a_client_that_comes_back_to_its_session_is_announced_again(
    autojump_clock: MockClock, version: str
) -> None:
    openvpn = FakeOpenVPN(version)
    async with watched(openvpn) as w:
        cid = openvpn.connect(b"host1", A, networks=(b"192.168.50.0/24",))
        await settle()
        before = dict(w.recorder.routes)
        came_back = trio.current_time()
        times = []
        for _ in range(2):
            openvpn.come_back(cid)
            await settle()
            assert w.recorder.at - came_back < 0.1
            times.append({route.renewed for route in w.recorder.routes.values()})
        assert w.recorder.routes.keys() == before.keys()
        [[first], [second]] = times
        assert min(route.session.since for route in before.values()) <= first < second
        await trio.sleep(100)  # further listings change nothing
        assert {route.renewed for route in w.recorder.routes.values()} == {second}


async def test_the_first_configuration_of_a_session_is_no_renewal(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.log(INITIAL.removeprefix(b"host1/"))
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.log(HOST1 + b" " + PUSH_REPLY)
        await settle()
        assert [route.renewed for route in w.recorder.routes.values()] == [0]


@pytest.mark.parametrize(
    "lines",
    [
        [INITIAL],
        [INITIAL, INITIAL],
        [HOST1 + b" " + PUSH_REPLY],
        [INITIAL, HOST1 + b" TLS: soft reset sec=3600/3600 bytes=1/-1 pkts=1/0"],
        [INITIAL, b"host1/192.0.2.1:1025 " + PUSH_REPLY],
        [INITIAL, b"host2/192.0.2.1:1024 " + PUSH_REPLY.replace(b"host1", b"host2")],
        [INITIAL, HOST1 + b" " + PUSH_REPLY + b"/192.0.2.9:7 peer info: IV_VER=2.6"],
        [INITIAL, b"192.0.2.9:7 [" + HOST1 + b" " + PUSH_REPLY + b"] Peer Connection Initiated"],
        [INITIAL + b"/192.0.2.9:7 x", HOST1 + b" " + PUSH_REPLY],
        # names of clients that are connected by IPv6, whose port OpenVPN does not log before 2.7
        [
            HOST1 + b" TLS: Initial packet from x/2001:db8::6 MULTI: Learn: fd00::6 -> x",
            HOST1 + b" SENT CONTROL [host1]: 'PUSH_REPLY,x/2001:db8::6 MULTI: Learn: fd00::6",
        ],
    ],
)
async def test_other_log_lines_renew_no_session(
    autojump_clock: MockClock, lines: list[bytes]
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        for line in lines:
            w.openvpn.log(line)
        await settle()
        assert [route.renewed for route in w.recorder.routes.values()] == [0]


async def test_the_log_line_of_a_session_before_a_restart_is_ignored(
    autojump_clock: MockClock,
) -> None:
    """Client ids begin anew, and a client may come from the address that it had."""
    openvpn = FakeOpenVPN()
    async with watched(openvpn) as w:
        openvpn.connect(b"host1", A)
        await settle()
        openvpn.fall_silent()
        openvpn.restart()
        await trio.sleep(2.0)
        openvpn.connect(b"host1", A)
        await settle()
        openvpn.say(
            b">LOG:1,,host1/192.0.2.1:1024 SIGUSR1[soft,ping-restart] received,"
            b" client-instance restarting\r\n"
        )
        await settle()
        assert w.recorder.names == {"10.9.0.50/32": b"host1"}


@pytest.mark.parametrize("verb", [1, 5])
async def test_without_log_lines_a_leaving_client_is_noticed_by_the_next_count(
    autojump_clock: MockClock, verb: int
) -> None:
    openvpn = FakeOpenVPN()
    openvpn.verb = verb
    async with watched(openvpn) as w:
        cid = w.openvpn.connect(b"host1", A)
        await settle()
        left = trio.current_time()
        w.openvpn.disconnect(cid)
        await until(lambda: not w.recorder.routes)
        assert w.recorder.at - left <= 1.0
        assert (b"log on" in openvpn.asked) == (verb <= 4)


async def test_clients_that_were_connected_before_are_not_announced(
    autojump_clock: MockClock,
) -> None:
    openvpn = FakeOpenVPN()
    openvpn.connect(b"host1", A)
    async with watched(openvpn) as w:
        (claim,) = w.recorder.routes.values()
        assert claim.confirmed
        assert not claim.announced
        assert w.source.status().version == "2.6.14"
        assert w.source.status().clients == 1
        assert state(w) is OpenVPNState.CONNECTED


async def test_a_client_that_a_script_refuses_is_withdrawn_by_the_listing(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A, refused=True)
        await settle()
        assert [len(update.routes) for update in w.recorder.updates[1:]] == [1, 0]
        assert w.recorder.names == {}


async def test_the_password_is_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_bytes(b"secret word\nsecond line\n")
    async with watched(FakeOpenVPN(password=b"secret word"), pass_file=file) as w:
        assert state(w) is OpenVPNState.CONNECTED


@pytest.mark.parametrize(
    ("content", "detail"),
    [(b"wrong", "refuses the password"), (None, "asks for a password: set openvpn_mgmt_pass_file")],
)
async def test_a_wrong_password_is_shown_and_tried_again_once_a_minute(
    autojump_clock: MockClock,
    tmp_path: Path,
    content: bytes | None,
    detail: str,
) -> None:
    file = tmp_path / "pass" if content else None
    if file and content:
        file.write_bytes(content)
    async with watched(FakeOpenVPN(password=b"secret"), pass_file=file) as w:
        assert state(w) is OpenVPNState.REFUSED
        assert detail in w.source.status().detail
        await trio.sleep(600)
        assert 10 <= w.openvpn.connections <= 11
        (sentence,) = w.recorder.sentences
        assert "wrong" not in sentence


async def test_a_corrected_password_is_tried_at_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    file = tmp_path / "pass"
    file.write_bytes(b"wrong\n")
    async with watched(FakeOpenVPN(password=b"secret"), pass_file=file) as w:
        await trio.sleep(20)
        file.write_bytes(b"secret\n")
        await trio.sleep(3)
        assert w.source.status().state == "connected"


async def test_an_unreadable_password_file_is_shown(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    file = tmp_path / "pass"
    async with watched(FakeOpenVPN(), pass_file=file) as w:
        assert (
            w.source.status().detail
            == f"cannot read the password file {file}: No such file or directory"
        )
        assert w.openvpn.connections == 0
        file.write_bytes(b"secret")
        await until(lambda: w.recorder.complete)


async def test_a_busy_interface_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    openvpn = FakeOpenVPN()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(openvpn.run)
        await settle()
        other = await openvpn.dial(config())
        await settle()
        async with watched(openvpn, running=False) as w:
            await trio.sleep(60)
            assert state(w) is OpenVPNState.BUSY
            assert "openvpn_status_file" in w.source.status().detail
            assert w.recorder.updates == []
            await other.aclose()
            await until(lambda: w.recorder.complete)
            assert state(w) is OpenVPNState.CONNECTED
            assert openvpn.connections == 2
        nursery.cancel_scope.cancel()


async def test_an_interface_with_client_auth_is_left_to_its_manager(
    autojump_clock: MockClock,
) -> None:
    openvpn = FakeOpenVPN()
    openvpn.client_auth = True
    async with watched(openvpn) as w:
        openvpn.connect(b"host1", A, quiet=True)
        await settle()
        assert state(w) is OpenVPNState.REFUSED
        assert "management-client-auth" in w.source.status().detail
        assert openvpn.out is None  # nobody is connected
        assert openvpn.asked[-2:] == [b"log off", b"state off"]
        await trio.sleep(59)
        assert openvpn.connections == 1
        before = len(openvpn.asked)
        await trio.sleep(2)
        assert openvpn.connections == 2
        await settle()
        assert not SWITCHES & set(openvpn.asked[before:])
        assert state(w) is OpenVPNState.CONNECTED
        openvpn.client_auth = False
        openvpn.hang_up()  # as it does when it is restarted, now without that option
        before = len(openvpn.asked)
        await until(lambda: set(openvpn.asked[before:]) >= SWITCHES)


async def test_a_shared_interface_is_used_though_another_program_decides_who_may_connect(
    autojump_clock: MockClock,
) -> None:
    openvpn = FakeOpenVPN()
    openvpn.client_auth = True
    async with watched(openvpn, shared=True) as w:
        cid = openvpn.connect(b"host1", A)
        await settle()
        assert state(w) is OpenVPNState.CONNECTED
        assert w.recorder.names == {"10.9.0.50/32": b"host1"}
        openvpn.disconnect(cid)
        await trio.sleep(INTERVALS.poll_interval + 0.1)
        assert not w.recorder.routes
    assert not (SWITCHES | {b"log off", b"state off"}) & set(openvpn.asked)


async def test_what_was_switched_on_is_switched_off_at_the_end(autojump_clock: MockClock) -> None:
    openvpn = FakeOpenVPN()
    async with watched(openvpn):
        assert set(openvpn.asked) >= SWITCHES
    assert openvpn.asked[-2:] == [b"log off", b"state off"]


async def test_a_silent_openvpn_does_not_delay_the_end(autojump_clock: MockClock) -> None:
    openvpn = FakeOpenVPN()
    async with watched(openvpn):
        openvpn.fall_silent()
        left_at = trio.current_time()
    assert trio.current_time() - left_at <= LEAVE_TIMEOUT


async def test_a_hold_is_shown_and_never_released(autojump_clock: MockClock) -> None:
    openvpn = FakeOpenVPN()
    openvpn.hold = True
    async with watched(openvpn) as w:
        assert state(w) is OpenVPNState.HOLD
        assert not w.recorder.complete
        await trio.sleep(100)
        assert not any(line.startswith(b"hold") for line in openvpn.asked)
        assert openvpn.asked.count(b"status 3") < 12
        openvpn.hold = False
        openvpn.restarted()
        await settle()
        assert state(w) is OpenVPNState.CONNECTED
        assert w.recorder.complete


async def test_an_openvpn_that_is_not_running_is_waited_for_and_is_one_event(
    autojump_clock: MockClock,
) -> None:
    openvpn = FakeOpenVPN()
    async with watched(openvpn, running=False) as w:
        await trio.sleep(100)
        assert state(w) is OpenVPNState.WAITING
        assert "refused" in w.source.status().detail
        (sentence,) = w.recorder.sentences
        assert sentence.startswith("openvpn: connecting -> waiting, 127.0.0.1")
        assert w.recorder.updates == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(openvpn.run)
            began = trio.current_time()
            await until(lambda: w.recorder.complete)
            assert trio.current_time() - began <= 1.1
            nursery.cancel_scope.cancel()


async def test_sessions_outlive_a_lost_connection_for_the_hold_time(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.stop()
        lost = trio.current_time()
        await until(lambda: not w.recorder.routes)
        assert w.recorder.at == lost + HOLD_TIME
        assert not w.recorder.complete
        w.openvpn.start()
        w.openvpn.connect(b"host1", A)
        await until(lambda: bool(w.recorder.routes))
        assert w.recorder.complete


async def test_an_openvpn_that_is_back_in_time_loses_no_session(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.hang_up()
        await trio.sleep(HOLD_TIME + 1)
        assert w.openvpn.connections == 2
        assert w.recorder.names == {"10.9.0.50/32": b"host1"}
        assert len(w.recorder.updates) == 3


@pytest.mark.parametrize("signal", [b"SIGUSR1", b"SIGHUP"])
async def test_after_a_restart_the_listing_replaces_everything(
    autojump_clock: MockClock, signal: bytes
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        w.openvpn.connect(b"host2", B)
        await settle()
        w.openvpn.hold = True  # what status answers meanwhile is the same
        w.openvpn.restart(signal)
        await trio.sleep(0.5)
        assert state(w) is OpenVPNState.WAITING
        assert signal.decode() in w.source.status().detail
        w.openvpn.hold = False
        w.openvpn.connect(b"host2", B, quiet=True)
        w.openvpn.restarted()
        await settle()
        assert w.recorder.names == {"10.9.0.51/32": b"host2"}
        (claim,) = w.recorder.routes.values()
        assert claim.session.cid == 0
        assert state(w) is OpenVPNState.CONNECTED


async def test_a_restart_that_does_not_end_withdraws_after_the_hold_time(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.hold = True
        w.openvpn.restart()
        began = trio.current_time()
        await until(lambda: not w.recorder.routes)
        assert w.recorder.at == began + HOLD_TIME


async def test_a_silent_openvpn_withdraws_nothing_and_is_shown(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        asked = len(w.openvpn.asked)
        w.openvpn.fall_silent()
        await trio.sleep(3600)
        assert state(w) is OpenVPNState.SILENT
        assert w.recorder.names == {"10.9.0.50/32": b"host1"}
        w.openvpn.wake_up()
        await trio.sleep(1)
        assert state(w) is OpenVPNState.CONNECTED
        assert len(w.openvpn.asked) - asked < 6
        assert w.openvpn.connections == 1


@pytest.mark.parametrize("rows", [0, 3, 5])
async def test_a_listing_without_end_changes_nothing_and_is_shown(
    autojump_clock: MockClock, rows: int
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.cut_after = rows
        cid = w.openvpn.connect(b"host2", B)
        await settle()
        assert set(w.recorder.names) == {"10.9.0.50/32", "10.9.0.51/32"}
        assert "no complete listing" in w.source.status().detail
        assert state(w) is OpenVPNState.CONNECTED
        w.openvpn.disconnect(cid)
        await trio.sleep(600)
        assert set(w.recorder.names) == {"10.9.0.50/32", "10.9.0.51/32"}
        w.openvpn.cut_after = None
        await trio.sleep(31)
        assert set(w.recorder.names) == {"10.9.0.50/32"}
        assert w.source.status().detail == ""


async def test_a_connection_lost_amid_a_listing_keeps_the_old_sessions(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.cut_after = 4
        w.openvpn.hang_up_in_listing = True
        w.openvpn.connect(b"host2", B)
        await settle()
        assert set(w.recorder.names) == {"10.9.0.50/32", "10.9.0.51/32"}
        w.openvpn.cut_after = None
        await trio.sleep(HOLD_TIME + 1)
        assert set(w.recorder.names) == {"10.9.0.50/32", "10.9.0.51/32"}
        assert w.recorder.complete


async def test_malformed_data_ends_the_connection_not_the_task(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.say(b"x" * 40_000)
        await settle()
        assert state(w) is OpenVPNState.WAITING
        assert "more than 32768 bytes" in w.source.status().detail
        await trio.sleep(1)
        assert state(w) is OpenVPNState.CONNECTED


async def test_an_openvpn_that_always_closes_brings_few_events(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        began = trio.current_time()
        while trio.current_time() < began + 600:
            await until(lambda: state(w) is OpenVPNState.CONNECTED)
            w.openvpn.hang_up()
            await settle()
        assert w.openvpn.connections < 140


async def test_a_superseded_session_is_killed_and_withdrawn(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b'jurg "q" \\', A)
        w.openvpn.connect(b"host2", B)
        await settle()
        w.supersede("10.9.0.50")
        await settle()
        assert w.kills == [b'kill "jurg \\"q\\" \\\\"']
        assert set(w.recorder.names) == {"10.9.0.51/32"}


@pytest.mark.parametrize("name", [b"host:9", b"host:9:1", b"x" * 200])
async def test_a_name_that_kill_cannot_take_is_killed_by_client_id(
    autojump_clock: MockClock, name: bytes
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(name, A)
        await settle()
        w.supersede("10.9.0.50")
        await settle()
        assert w.kills == [b"client-kill 0"]
        await trio.sleep(CLIENT_KILL_TIME + 0.1)
        assert w.recorder.names == {}


async def test_what_kill_refuses_is_killed_by_client_id(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.refuse_kill = True
        w.supersede("10.9.0.50")
        await settle()
        assert w.kills == [b'kill "host1"', b"client-kill 0"]


async def test_a_kill_that_fails_is_an_event(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN(version="2.3")) as w:
        w.openvpn.connect(b"host1", A, quiet=True)
        await trio.sleep(31)
        w.openvpn.refuse_kill = True
        w.supersede("10.9.0.50")
        await settle()
        assert w.kills == [b'kill "host1"']
        assert w.recorder.events[-1] == OpenVPNWarning(
            openvpn="", why="cannot kill a superseded session: common name 'host1' not found"
        )


async def test_duplicate_and_other_names_are_never_killed(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"twin", A)
        w.openvpn.connect(b"twin", B)
        await settle()
        w.supersede("10.9.0.50")
        await trio.sleep(100)
        assert w.kills == []


async def test_a_kill_needs_a_listing_requested_later(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        cid = w.openvpn.connect(b"host1", A)
        await settle()
        listings = w.openvpn.asked.count(b"status 3")
        w.openvpn.log_on = False
        w.openvpn.disconnect(cid)
        w.openvpn.connect(b"host1", A, quiet=True)
        w.supersede("10.9.0.50")
        await settle()
        assert w.openvpn.asked.count(b"status 3") == listings + 1
        assert w.kills == []
        (claim,) = w.recorder.routes.values()
        assert claim.session == SessionId(1, claim.session.since)


async def test_a_session_that_shows_life_is_not_killed_but_announced_again(
    autojump_clock: MockClock,
) -> None:
    """Nothing in the log tells that its client is back, and its kills are damped until then."""
    openvpn = FakeOpenVPN()
    openvpn.verb = 1
    async with watched(openvpn) as w:
        for _ in range(5):
            openvpn.connect(b"host1", A)
            await settle()
            w.supersede("10.9.0.50")
            await settle()
        assert len(w.kills) == 5
        cid = openvpn.connect(b"host1", A)
        await settle()
        w.supersede("10.9.0.50")
        for _ in range(40):
            await trio.sleep(10)
            openvpn.clients[cid].received += 100
        assert len(w.kills) == 5
        assert w.recorder.routes[Prefix.parse("10.9.0.50")].renewed > 0


async def test_a_dead_session_that_was_not_killed_at_once_is_killed_later(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        for _ in range(5):
            w.openvpn.connect(b"host1", A)
            await settle()
            w.supersede("10.9.0.50")
            await settle()
        cid = w.openvpn.connect(b"host1", A)
        await settle()
        w.supersede("10.9.0.50")
        await settle()
        w.openvpn.clients[cid].received += 100  # it was on its way when the client moved
        await until(lambda: len(w.kills) == 6)
        assert trio.current_time() < 150


async def test_two_live_devices_with_one_name_are_killed_five_times_and_then_once_a_minute(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        for _ in range(60):
            w.openvpn.connect(b"twin", A)
            await settle()
            w.supersede("10.9.0.50")
            await trio.sleep(10)
            for cid in list(w.openvpn.clients):
                w.openvpn.disconnect(cid)
        assert len(w.kills) == 14  # five, and one in each of the ten minutes but the first


async def test_other_intervals_apply_from_the_next_query_on(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.source.reconfigure(
            PollIntervals(poll_interval=10.0, status_interval=100.0, hold_time=20.0)
        )
        before = len(w.openvpn.asked)
        await trio.sleep(60)
        assert len(w.openvpn.asked) - before <= 9
        w.openvpn.connect(b"host1", A)
        await settle()
        w.openvpn.stop()
        await trio.sleep(15)
        assert w.recorder.routes
        await trio.sleep(10)
        assert not w.recorder.routes


async def test_a_shorter_interval_is_not_waited_for_until_the_longer_one_has_passed(
    autojump_clock: MockClock,
) -> None:
    slow = PollIntervals(poll_interval=600.0, status_interval=600.0, hold_time=1000.0)
    async with watched(FakeOpenVPN()) as w:
        w.source.reconfigure(slow)
        await trio.sleep(40)  # the queries that were due under the intervals before
        before = len(w.openvpn.asked)
        await trio.sleep(100)
        assert len(w.openvpn.asked) == before
        w.source.reconfigure(attrs.evolve(slow, poll_interval=5.0))
        await trio.sleep(6)
        assert len(w.openvpn.asked) > before


async def test_the_events_of_a_kill(autojump_clock: MockClock) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        await settle()
        w.supersede("10.9.0.50")
        await settle()
    assert w.recorder.events == [
        OpenVPNStateChanged(openvpn="", old="connecting", new="connected", why=""),
        ClientKilled(
            address="10.9.0.50",
            client="host1",
            openvpn="",
            cid=0,
            why="superseded by one on vpnsrvB",
        ),
    ]


async def test_clients_without_a_name_are_shown_and_are_one_event(
    autojump_clock: MockClock,
) -> None:
    async with watched(FakeOpenVPN()) as w:
        w.openvpn.connect(b"host1", A)
        cid = w.openvpn.connect(b"UNDEF", B)
        await settle()
        assert w.source.status().omissions == ()
        await until(lambda: bool(w.source.status().omissions))
        status = w.source.status()
        assert "username-as-common-name" in status.omissions[0]
        assert (status.clients, status.counted) == (1, 2)
        await trio.sleep(100)
        w.openvpn.disconnect(cid)
        await until(lambda: not w.source.status().omissions)
    began, ended = w.recorder.events[1:]
    what = "clients without a common name"
    assert isinstance(began, OpenVPNWarningBegan)
    assert (began.what, ended) == (what, OpenVPNWarningEnded(openvpn="", what=what))
