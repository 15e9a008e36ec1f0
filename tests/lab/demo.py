"""The demo: `python -m tests.lab.demo`, or `make demo`.

Five scenes on real OpenVPN. Every time that it prints was measured in that run.
"""

from __future__ import annotations

import sys
import time
from itertools import permutations

from tests.lab import ping, routes
from tests.lab.client import Client
from tests.lab.configs import mesh
from tests.lab.demo_output import DemoOutput
from tests.lab.lab import Lab, LabError
from tests.lab.mesh import connect, wanted
from tests.lab.network import cut
from tests.lab.process import EndedError
from tests.lab.server import Server
from tests.lab.waiting import wait_for

SERVERS = ("vpnsrvA", "vpnsrvB", "vpnsrvC")
SUBNET = "10.100.100.0/24"
CLIENTS = {"host1": 0, "host2": 1, "host3": 2, "host4": 2}

PICTURE = """\
   host1            host2         host3   host4     four clients
     .                .               .   .
     .                .               .   .         OpenVPN through the Internet
     .                .               .   .
+---------+      +---------+      +-----------+
| vpnsrvA |------| vpnsrvB |------|  vpnsrvC  |     three servers
+---------+      +---------+      +-----------+
     |                                  |           a tunnel between every two of them
     +----------------------------------+
"""

CONNECTED = "Peer Connection Initiated"
TIMEOUT = 30.0
"""Seconds after which a scene has failed."""


class Demo:
    """The five scenes, to be called in order. ``where``: the server of each client."""

    def __init__(self, lab: Lab, out: DemoOutput) -> None:
        self.lab = lab
        self.a, self.b, self.c = lab.servers
        self.out = out
        self.where: dict[Client, Server] = {}

    def without_cuberouted(self) -> None:
        """Which clients reach each other without cuberouted."""
        self.out.title("1. Three OpenVPN servers, one subnet")
        self.where = connect(self.lab, CLIENTS)
        self.out.draw(PICTURE)
        self.out.command(
            self.a, f"ip route show {SUBNET}", self.a.host.run("ip", "route", "show", SUBNET)
        )
        self.out.text(
            "A client keeps its address whichever server it connects to. So every server routes the"
            " whole subnet into its own OpenVPN, which knows none of the other servers' clients:"
        )
        self.ping_all()
        self.out.text("Only host3 and host4 reach each other, because they are on the same server.")

    def with_cuberouted(self) -> None:
        """cuberouted on each server, until every client reaches every other."""
        self.out.title("2. cuberouted is started on each server")
        self.out.command(self.a, "cat cuberouted.conf", mesh(self.a))
        streams = [
            ping.Stream(one.host, other.data, interval=0.05)
            for one, other in permutations(self.where, 2)
            if self.where[one] is not self.where[other]
        ]
        started = time.time()
        for server in self.lab.servers:
            server.daemon.configure(mesh(server))
            server.daemon.start()
        for server in self.lab.servers:
            server.daemon.ready()
        reached = max(stream.reply_after(started, TIMEOUT) for stream in streams)
        for stream in streams:
            stream.end()
        self.ping_all()
        self.out.measured(
            reached - started, "from starting the three daemons to an answered ping on every path"
        )

    def commands(self) -> None:
        """The commands that show what it did."""
        self.out.title("3. What cuberouted did")
        for command in ("status", "clients", "dump-routes"):
            self.show(self.a, command)
        self.out.text(
            "Each client of another server has a host route to that server now. The client on"
            " vpnsrvA itself needs none. They are ordinary kernel routes, as `ip route` shows."
        )

    def client_moves(self) -> None:
        """host2 moves from B to C without disconnecting from B."""
        one, two, *_ = self.where
        self.out.title("4. host2 moves from vpnsrvB to vpnsrvC")
        self.out.text(
            "host2 does not disconnect first, like a phone that leaves the Wi-Fi: vpnsrvB lists its"
            " old session until a timeout. Meanwhile host1, on vpnsrvA, pings host2. Before:"
        )
        self.show(self.a, "dump-routes", only=two.name)
        stream = ping.Stream(one.host, two.data)
        stream.reply_after(time.time())
        deleted = time.time()
        two.roam(self.c)
        self.where[two] = self.c
        connected = self.c.openvpn.logged_at(f"[{two.name}] {CONNECTED}")
        reached = stream.reply_after(connected)
        stream.end()
        self.out.text("After:")
        self.show(self.a, "dump-routes", only=two.name)
        self.out.measured(connected - deleted, "from the loss of the old connection to the new one")
        self.out.measured(
            reached - connected, "from the new connection to host1's first answered ping"
        )
        self.out.measured(
            self.killed_at(self.b, two) - connected,
            "from the new connection until vpnsrvB's dead session was killed",
        )

    def server_is_lost(self) -> None:
        """C loses power; its clients connect to A and B."""
        one, two, three, four = self.where
        self.out.title("5. vpnsrvC loses power")
        self.out.text("host2, host3 and host4 lose their connection. Before:")
        self.show(self.a, "dump-routes", only=self.c.name)
        lost = time.time()
        cut(self.c.host)
        self.c.host.kill_all()
        without = wanted(self.a, self.where, silent=[self.c])
        wait_for("its routes to go", lambda: routes.towards(self.a.host) == without, TIMEOUT)
        gone = time.time()
        self.out.text("After (vpnsrvC's own address is in the configuration, so its route stays):")
        self.show(self.a, "dump-routes", only=self.c.name)
        self.out.measured(
            gone - lost, "from the loss of power until its clients' routes were withdrawn"
        )
        stream = ping.Stream(one.host, two.data)
        for client, server in {three: self.a, four: self.b, two: self.b}.items():
            client.roam(server)
            self.where[client] = server
        connected = self.b.openvpn.logged_at(f"[{two.name}] {CONNECTED}")
        reached = stream.reply_after(connected)
        stream.end()
        self.out.text("\nhost3 connects to vpnsrvA, host2 and host4 to vpnsrvB:")
        self.ping_all()
        self.out.measured(
            reached - connected, "from host2's new connection to host1's first answered ping"
        )

    def ping_all(self) -> None:
        """Pings from every client to every other, and shows which were answered."""
        pairs = list(permutations(self.where, 2))
        answers = ping.answers([(one.host, other.data) for one, other in pairs])
        names = [(one.name, other.name) for one, other in pairs]
        self.out.matrix(list(CLIENTS), dict(zip(names, answers, strict=True)))

    def show(self, server: Server, command: str, only: str = "") -> None:
        """Shows a cuberouted command and its output, or only the rows that contain *only*."""
        shown = server.daemon.command(command).stdout
        typed = f"cuberouted {command}"
        if only:
            head, *rows = shown.splitlines()
            shown = "\n".join([head, *(row for row in rows if only in row)])
            typed += f" | grep -e DESTINATION -e {only}"
        self.out.command(server, typed, shown)

    def killed_at(self, server: Server, client: Client) -> float:
        """When OpenVPN was told to kill a client's session: Unix seconds."""
        server.openvpn.process.wait_log(kill := f"CMD 'kill \"{client.name}\"'")
        return server.openvpn.logged_at(kill)


def main() -> int:
    """Runs the demo. Returns the exit status."""
    out = DemoOutput()
    began = time.monotonic()
    try:
        with Lab(SERVERS) as lab:
            play(Demo(lab, out))
            out.title("The end")
    except LabError as error:
        print(f"The demo cannot run here: {error}", file=sys.stderr)
        return 1
    except (AssertionError, EndedError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; all namespaces and processes are removed.", file=sys.stderr)
        return 130
    out.measured(time.monotonic() - began, "in all; the namespaces and processes are removed")
    out.text("\ndocs/tutorial.md describes how to install cuberouted on your servers.")
    return 0


def play(demo: Demo) -> None:
    """All scenes."""
    demo.without_cuberouted()
    demo.with_cuberouted()
    demo.commands()
    demo.client_moves()
    demo.server_is_lost()


if __name__ == "__main__":
    sys.exit(main())
