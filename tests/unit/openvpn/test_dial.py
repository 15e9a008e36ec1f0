"""Real sockets, on the loopback interface and in a temporary directory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from cuberouted.openvpn.dial import (
    CONNECT_TIMEOUT,
    DialError,
    ManagementDialer,
    QuickAckStream,
    read_password,
)
from tests.unit.openvpn.harness import config


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as sock:
        yield sock


@pytest.fixture
def unix_listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "sock"))
        sock.listen(0)
        yield sock


def dialer(address: str | None = None) -> ManagementDialer:
    return ManagementDialer(lambda _interface: address)


async def test_tcp_is_dialed_at_the_loopback_address(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    stream = await dialer().dial(attrs.evolve(config(), mgmt_port=port))
    assert isinstance(stream, QuickAckStream)
    theirs, _ = listener.accept()
    with theirs:
        await stream.send_all(b"load-stats\n")
        assert theirs.recv(100) == b"load-stats\n"
        theirs.sendall(b"SUCCESS: nclients=0\r\n")
        assert await stream.receive_some(100) == b"SUCCESS: nclients=0\r\n"
        await stream.wait_send_all_might_not_block()
    assert await stream.receive_some(100) == b""
    await stream.aclose()


async def test_then_the_data_interfaces_address_is_tried() -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        stream = await dialer("127.0.0.2").dial(attrs.evolve(config(), mgmt_port=port))
        await stream.aclose()


async def test_where_nobody_listens_every_address_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(DialError) as caught:
        await dialer("127.0.0.2").dial(attrs.evolve(config(), mgmt_port=port))
    assert str(caught.value) == (
        f"127.0.0.1 port {port}: Connection refused; 127.0.0.2 port {port}: Connection refused"
    )


async def test_a_configured_host_is_the_only_one(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(DialError, match=f"127.0.0.3 port {port}: Connection refused$"):
        await dialer("127.0.0.2").dial(
            attrs.evolve(config(), mgmt_host="127.0.0.3", mgmt_port=port)
        )


async def test_a_unix_socket_is_dialed(unix_listener: socket.socket) -> None:
    path = Path(unix_listener.getsockname())
    stream = await dialer().dial(attrs.evolve(config(), mgmt_socket=path))
    theirs, _ = unix_listener.accept()
    theirs.close()
    assert await stream.receive_some(100) == b""
    await stream.aclose()


async def test_a_unix_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with pytest.raises(DialError, match=f"{path}: No such file or directory"):
        await dialer().dial(attrs.evolve(config(), mgmt_socket=path))


async def test_a_unix_socket_whose_backlog_is_full_is_held_by_somebody(
    unix_listener: socket.socket,
) -> None:
    path = Path(unix_listener.getsockname())
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        with pytest.raises(DialError, match="one program is connected"):
            await dialer().dial(attrs.evolve(config(), mgmt_socket=path))


async def test_a_full_tcp_backlog_is_not_waited_for_for_ever(autojump_clock: MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            began = trio.current_time()
            with pytest.raises(DialError, match="one program is connected"):
                await dialer().dial(attrs.evolve(config(), mgmt_port=port))
            assert trio.current_time() - began == CONNECT_TIMEOUT


async def test_a_host_name_that_cannot_be_encoded_is_told() -> None:
    with pytest.raises(DialError, match=r"a\.\.b port 5656: not a valid host name"):
        await dialer().dial(attrs.evolve(config(), mgmt_host="a..b"))


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_bytes(b"a secret \r\nanother\n")
    assert read_password(file) == b"a secret "
    assert read_password(None) is None


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DialError, match=f"the password file {tmp_path}: Is a directory"):
        read_password(tmp_path)
