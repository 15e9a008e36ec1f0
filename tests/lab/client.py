"""A client: a host that connects to one OpenVPN server at a time."""

from __future__ import annotations

import signal

from tests.lab import addresses
from tests.lab.host import Host
from tests.lab.openvpn import OpenVPN, client_config
from tests.lab.server import Server


class Client:
    """A device with a certificate and an address of its own, whichever server it is on.

    ``networks`` are the prefixes behind it. ``fixed_port``: it always uses the same UDP port.
    ``protocol``: ``udp`` or ``tcp``, as the server has it where it connects next. ``also``: the
    servers that it tries after the one that it is told to connect to.
    """

    def __init__(
        self, host: Host, common_name: str, number: int, networks: tuple[str, ...] = ()
    ) -> None:
        self.host = host
        self.name = common_name
        self.number = number
        self.data = addresses.client_data(number)
        self.data6 = addresses.ipv6(self.data)
        self.networks = networks
        self.fixed_port = False
        self.protocol = "udp"
        self.also: tuple[Server, ...] = ()
        self._openvpn: OpenVPN | None = None

    @property
    def openvpn(self) -> OpenVPN:
        """Its OpenVPN."""
        assert self._openvpn, f"{self.host.name} was never connected"
        return self._openvpn

    def start(self, server: Server) -> None:
        """Starts to connect to *server*, without waiting."""
        remotes = (each.internet for each in (server, *self.also))
        config = client_config(self.name, *remotes, protocol=self.protocol)
        if self.fixed_port:
            config = config.replace("nobind", "lport 1194")
        self._openvpn = OpenVPN(self.host, "client", config)
        self._openvpn.start()

    def connect(self, server: Server) -> None:
        """Connects to *server*, and waits until OpenVPN logs that it is connected."""
        self.start(server)
        self.openvpn.ready()

    def vanish(self) -> None:
        """Ends without notice (SIGKILL): the server lists it until its ping-restart."""
        self.openvpn.process.end(signal.SIGKILL)

    def leave(self) -> None:
        """Ends with an exit notification: the server lists it for some 5 s more."""
        self.openvpn.process.end(signal.SIGTERM)

    def roam(self, server: Server) -> None:
        """Vanishes, and connects to another server while the old one still lists it."""
        self.vanish()
        self.connect(server)
