"""What a newcomer sees first: `python -m tests.lab.demo`, or `make demo`.

A story in five scenes, on real OpenVPN. Every figure that it prints was measured in the
run that prints it.
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
PATIENCE = 30.0
"""Seconds until a scene has failed."""


class Demo:
    """The story: five scenes, one after the other."""

    def __init__(self, lab: Lab, teller: DemoOutput) -> None:
        self.lab = lab
        self.a, self.b, self.c = lab.servers
        self.tell = teller
        self.where: dict[Client, Server] = {}

    def without_cuberouted(self) -> None:
        """Who reaches whom by OpenVPN alone."""
        self.tell.title("1. Three OpenVPN servers, one subnet")
        self.where = connect(self.lab, CLIENTS)
        self.tell.draw(PICTURE)
        self.tell.command(
            self.a, f"ip route show {SUBNET}", self.a.host.run("ip", "route", "show", SUBNET)
        )
        self.tell.say(
            "A client keeps its address whichever server it connects to. So each server sends the"
            " whole subnet into its own OpenVPN, and knows nothing of the other servers' clients:"
        )
        self.who_reaches_whom()
        self.tell.say("Only host3 and host4 reach each other: they are on the same server.")

    def with_cuberouted(self) -> None:
        """cuberouted on each server, until every client reaches every other."""
        self.tell.title("2. cuberouted starts on each server")
        self.tell.command(self.a, "cat cuberouted.conf", mesh(self.a))
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
        reached = max(stream.reply_after(started, PATIENCE) for stream in streams)
        for stream in streams:
            stream.end()
        self.who_reaches_whom()
        self.tell.measured(
            reached - started, "from starting three daemons to an answered ping on every path"
        )

    def commands(self) -> None:
        """What an administrator would type next."""
        self.tell.title("3. What it did")
        for command in ("status", "clients", "dump-routes"):
            self.show(self.a, command)
        self.tell.say(
            "Each client on another server has got a host route towards its server. Clients of this"
            " server need none. These are ordinary routes of the kernel; `ip route` shows them too."
        )

    def client_moves(self) -> None:
        """host2 goes from B to C without a word, while B still lists it."""
        one, two, *_ = self.where
        self.tell.title("4. host2 moves from vpnsrvB to vpnsrvC")
        self.tell.say(
            "It vanishes without a goodbye, as a phone that leaves the house does: vpnsrvB believes"
            " it connected until a timeout. Meanwhile host1, on vpnsrvA, pings it. Before:"
        )
        self.show(self.a, "dump-routes", only=two.name)
        stream = ping.Stream(one.host, two.data)
        stream.reply_after(time.time())
        deleted = time.time()
        two.roam(self.c)
        self.where[two] = self.c
        connected = self.c.openvpn.said_at(f"[{two.name}] {CONNECTED}")
        reached = stream.reply_after(connected)
        stream.end()
        self.tell.say("After:")
        self.show(self.a, "dump-routes", only=two.name)
        self.tell.measured(connected - deleted, "from vanishing to connected with vpnsrvC")
        self.tell.measured(reached - connected, "from there to the first answered ping of host1's")
        self.tell.measured(
            self.dropped_at(self.b, two) - connected,
            "from there to vpnsrvB dropping the dead session",
        )

    def server_is_lost(self) -> None:
        """C loses power; its clients connect elsewhere."""
        one, two, three, four = self.where
        self.tell.title("5. vpnsrvC loses power")
        self.tell.say("With it go host2, host3 and host4. Before:")
        self.show(self.a, "dump-routes", only=self.c.name)
        lost = time.time()
        cut(self.c.host)
        self.c.host.kill_all()
        without = wanted(self.a, self.where, silent=[self.c])
        wait_for("its routes to go", lambda: routes.towards(self.a.host) == without, PATIENCE)
        gone = time.time()
        self.tell.say("After (the server's own address is in the configuration, and stays):")
        self.show(self.a, "dump-routes", only=self.c.name)
        self.tell.measured(gone - lost, "from the loss of power to its clients' routes gone")
        stream = ping.Stream(one.host, two.data)
        for client, server in {three: self.a, four: self.b, two: self.b}.items():
            client.roam(server)
            self.where[client] = server
        connected = self.b.openvpn.said_at(f"[{two.name}] {CONNECTED}")
        reached = stream.reply_after(connected)
        stream.end()
        self.tell.say("\nThe clients connect to vpnsrvA and vpnsrvB instead:")
        self.who_reaches_whom()
        self.tell.measured(
            reached - connected, "from host2's connection to host1's first answered ping"
        )

    def who_reaches_whom(self) -> None:
        """Pings from every client to every other, and shows the answers."""
        pairs = list(permutations(self.where, 2))
        answers = ping.answers([(one.host, other.data) for one, other in pairs])
        names = [(one.name, other.name) for one, other in pairs]
        self.tell.matrix(list(CLIENTS), dict(zip(names, answers, strict=True)))

    def show(self, server: Server, command: str, only: str = "") -> None:
        """A cuberouted command with its output, or the lines of it with a word."""
        shown = server.daemon.command(command).stdout
        typed = f"cuberouted {command}"
        if only:
            head, *rows = shown.splitlines()
            shown = "\n".join([head, *(row for row in rows if only in row)])
            typed += f"    (the lines on {only})"
        self.tell.command(server, typed, shown)

    def dropped_at(self, server: Server, client: Client) -> float:
        """When OpenVPN was told to drop a client's session: Unix seconds."""
        server.openvpn.process.says(kill := f"CMD 'kill \"{client.name}\"'")
        return server.openvpn.said_at(kill)


def main() -> int:
    """Tells the story: the exit status."""
    teller = DemoOutput()
    began = time.monotonic()
    try:
        with Lab(SERVERS) as lab:
            play(Demo(lab, teller))
            teller.title("That is all")
    except LabError as error:
        print(f"The demo cannot run here: {error}", file=sys.stderr)
        return 1
    except (AssertionError, EndedError) as error:
        print(f"\nThis did not go as it should: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything is cleaned up.", file=sys.stderr)
        return 130
    teller.measured(time.monotonic() - began, "for all of it; namespaces and processes are gone")
    teller.say("\nREADME.md tells how to install cuberouted on your servers.")
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
