from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.openvpn.protocol import MAX_KILL_NAME, NO_CID, kill_command
from tests.fakes.openvpn_answers import words

KILLABLE = [
    b"host1",
    b"host one",
    b'jurg "q" BACKEND',
    b"back\\slash",
    b"Doe, John END",
    b"a/b",
    b"# ; '",
    b"j\xfcrg",
    b"x" * MAX_KILL_NAME,
]
NOT_KILLABLE = [
    b"",
    b"UNDEF",
    b"host:9",  # one colon is an address up to 2.6
    b"host:",  # and this would drop the client called host
    b"10.0.0.1:1194",
    b"host:9:1",
    b"line\nsignal SIGTERM",
    b"tab\t",
    b"x" * (MAX_KILL_NAME + 1),
]


@pytest.mark.parametrize("name", KILLABLE)
def test_a_session_is_dropped_by_its_name_where_openvpn_would_read_just_that(name: bytes) -> None:
    command = kill_command(name, 7)
    assert command is not None
    assert words(command.text) == [b"kill", name]
    assert command.fallback is not None
    assert command.fallback.text == b"client-kill 7"


@pytest.mark.parametrize("name", NOT_KILLABLE)
def test_a_name_that_kill_would_read_otherwise_is_dropped_by_client_id(name: bytes) -> None:
    command = kill_command(name, 7)
    assert command is not None
    assert command.text == b"client-kill 7"
    assert command.fallback is None


def test_without_a_client_id_the_name_is_the_only_way() -> None:
    command = kill_command(b"host1", NO_CID)
    assert command is not None
    assert command.fallback is None
    assert kill_command(b"host:9", NO_CID) is None


@given(st.binary(), st.integers(NO_CID, 2**40))
def test_a_command_is_one_line(name: bytes, cid: int) -> None:
    command = kill_command(name, cid)
    if command is not None:
        assert not any(byte < 32 for byte in command.text)
        assert len(command.text) < 1024  # OpenVPN forgets longer lines
