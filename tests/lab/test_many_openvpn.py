"""A UDP and a TCP process of OpenVPN on one host, which share the clients' subnet."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import attrs
import pytest

from tests.lab import addresses, ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, start_daemons
from tests.lab.openvpn import READY, OpenVPN, Options
from tests.lab.server import SECOND_DEVICE, Server
from tests.lab.waiting import wait_for

STATUS = "/run/openvpn/tcp.status"
TCP = Options(
    protocol="tcp",
    management="127.0.0.1 5658 /etc/openvpn/pass",
    lines=(f"status {STATUS} 1", "status-version 2"),
)
INTERFACES = """
[openvpn udp]
mgmt_port = 5656
mgmt_pass_file = /etc/openvpn/pass

[openvpn tcp]
data_interface = tun9
mgmt_port = 5658
mgmt_pass_file = /etc/openvpn/pass
"""
STATUS_FILE = f"""
[openvpn udp]
mgmt_port = 5656
mgmt_pass_file = /etc/openvpn/pass

[openvpn tcp]
data_interface = tun9
status_file = {STATUS}
"""


@attrs.frozen
class Many:
    """Server ``a`` has the processes ``udp``, on tun0, and ``tcp``, on tun9; ``b`` only the first.

    One client is connected to each, ``third`` to the one of ``b``.
    """

    lab: Lab
    a: Server
    b: Server
    udp: OpenVPN
    tcp: OpenVPN
    one: Client
    two: Client
    third: Client

    @property
    def clients(self) -> dict[Client, Server]:
        """Every client, and the server to which it connected first."""
        return {self.one: self.a, self.two: self.a, self.third: self.b}

    def wait_routes(self, devices: dict[Client, str]) -> None:
        """Wait until A's routes to clients lead to these devices."""

        def look() -> bool:
            seen = routes.towards(self.a.host)
            wanted = {f"{c.data}/32": d for c, d in devices.items()}
            wanted |= {f"{c.data6}/128": d for c, d in devices.items()}
            assert {x: seen.get(x) for x in wanted} == wanted
            return True

        wait_for("A's routes to the clients", look)

    def moves(self, server: Server, protocol: str) -> float:
        """Let `one` vanish and connect elsewhere: seconds until all others reach it again."""
        streams = [ping.Stream(other.host, self.one.data) for other in (self.two, self.third)]
        self.one.protocol = protocol
        self.one.roam(server)
        connected = self.one.openvpn.logged_at(READY)
        seconds = [stream.reply_after(connected) - connected for stream in streams]
        for stream in streams:
            stream.end()
        return max(seconds)


def started(lab: Lab, sections: str) -> Many:
    """All connected, cuberouted running with *sections* on A, and everybody reached."""
    a, b = lab.servers
    options = attrs.evolve(TCP, topology=a.options.topology)
    second = a.second(options)
    second.start()
    one, two, third = map(lab.client, ("host1", "host2", "host3"))
    two.protocol = "tcp"
    second.ready()
    for client, server in ((one, a), (two, a), (third, b)):
        client.start(server)
    for client in (one, two, third):
        client.openvpn.ready()
    start_daemons(lab.servers, lambda x: with_sections(x, sections) if x is a else mesh(x))
    many = Many(lab, a, b, a.openvpn, second, one, two, third)
    many.wait_routes({one: "tun0", two: SECOND_DEVICE, third: "tun1"})
    return many


def with_sections(server: Server, sections: str) -> str:
    """The configuration of *server* with *sections* instead of its one management interface."""
    lines = mesh(server).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("openvpn_mgmt")) + sections


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Iterator[Many]:
    with Lab(options=Options(topology=getattr(request, "param", "subnet"))) as lab:
        yield started(lab, INTERFACES)


@pytest.fixture
def files() -> Iterator[Many]:
    """A's TCP process is followed by its status file."""
    with Lab() as lab:
        yield started(lab, STATUS_FILE)


def towards(many: Many) -> dict[str, str | None]:
    """B's routes."""
    return routes.towards(many.b.host)


def assert_reached(many: Many) -> None:
    """Everybody reaches everybody, and the addresses of both processes, from both servers."""
    for client in many.clients:
        ping.wait_reaches(many.b.host, client.data)
        ping.wait_reaches(many.b.host, client.data6)
    assert_all_reach_all(many.clients)
    for client in many.clients:
        assert ping.reaches(client.host, addresses.second_data(many.a.number))
        assert ping.reaches(client.host, many.a.data)


@pytest.mark.parametrize("many", ["subnet", "net30"], indirect=True)
def test_clients_of_both_processes_and_of_another_server_reach_each_other(many: Many) -> None:
    assert_reached(many)
    status = many.a.daemon.ask("status")
    assert [(o["name"], o["state"], o["clients"]) for o in status["openvpn"]] == [
        ("udp", "connected", 1),
        ("tcp", "connected", 1),
    ]
    for command in (("status",), ("check",)):
        done = many.a.daemon.command(*command)
        assert done.returncode == 0, done.stdout
    assert (
        "gives out no address that openvpn udp gives out"
        in many.a.daemon.command("check", "-v").stdout
    )


def test_a_client_keeps_its_address_from_udp_to_tcp_and_on_another_server(many: Many) -> None:
    for server, protocol, device in (
        (many.a, "tcp", SECOND_DEVICE),
        (many.b, "udp", "tun1"),
        (many.a, "tcp", SECOND_DEVICE),
        (many.a, "udp", "tun0"),
    ):
        seconds = many.moves(server, protocol)
        print(f"{server.name} {protocol}: reached {seconds:.3f} s after it was connected")
        assert seconds < 1.0
        many.wait_routes({many.one: device})
    assert_reached(many)


def test_the_clients_of_one_process_stay_when_the_other_is_killed(many: Many) -> None:
    stream = ping.Stream(many.third.host, many.two.data)
    many.udp.process.end(signal.SIGKILL)
    wait_for(
        "the clients of the process that was killed to be withdrawn",
        lambda: f"{many.one.data}/32" not in towards(many),
    )
    assert many.moves(many.a, "tcp") < 1.0
    stream.end()
    # the kernel deletes routes whose preferred source was the address of the killed one's device,
    # and scans that follow each other are up to 0.2 s apart
    gap = stream.longest_gap().seconds
    print(f"the other process's clients were not reached for {gap:.3f} s")
    assert gap < 1.0
    many.udp.start()
    many.udp.ready()
    assert many.moves(many.a, "udp") < 1.0
    assert_reached(many)


def test_one_process_by_its_management_interface_the_other_by_its_status_file(files: Many) -> None:
    assert_reached(files)
    seconds = files.moves(files.a, "tcp")
    print(f"reached {seconds:.3f} s after it was connected to the one with a status file")
    files.wait_routes({files.one: SECOND_DEVICE})
    busy = ping.Stream(files.b.host, files.one.data, 0.5)  # an idle OpenVPN writes every 10 s
    files.two.leave()
    wait_for("it to be withdrawn", lambda: f"{files.two.data}/32" not in towards(files))
    files.two.connect(files.a)
    wait_for("it to be back", lambda: f"{files.two.data}/32" in towards(files))
    busy.end()
    assert files.moves(files.a, "udp") < 1.0
    files.wait_routes({files.one: "tun0"})


def test_servers_that_only_speak_tcp() -> None:
    with Lab(options=Options(protocol="tcp")) as lab:
        a, b = lab.servers
        one, two = lab.client("host1", ("192.168.50.0/24",)), lab.client("host2")
        one.host.ip("address add 192.168.50.1/24 dev lo")
        for client, server in ((one, a), (two, b)):
            client.protocol = "tcp"
            client.connect(server)
        networks = "10.100.100.0/24, fd00:100::/64, 192.168.50.0/24"
        start_daemons(lab.servers, lambda x: mesh(x, f"allowed_networks = {networks}"))
        ping.wait_reaches(two.host, one.data6)
        assert_all_reach_all({one: a, two: b})
        routes.wait_towards(
            b.host,
            {
                f"{a.data}/32": "tun1",
                f"{a.data6}/128": "tun1",
                f"{one.data}/32": "tun1",
                f"{one.data6}/128": "tun1",
                "192.168.50.0/24": "tun1",
            },
        )
        stream = ping.Stream(two.host, one.data)
        one.roam(b)
        connected = one.openvpn.logged_at(READY)
        assert stream.reply_after(connected) - connected < 1.0
        stream.end()
        ping.wait_reaches(a.host, two.data)
        assert_all_reach_all({one: b, two: b})
