"""A manager that decides who may connect, and passes OpenVPN's management interface through.

    python pass_through.py PASSWORD_FILE

A stand-in for openvpn-auth-oauth2 in its framing: it reads messages, not lines. A message ends at a
line that begins with one of ENDS, or at the end of a client's environment; so a line of another
kind becomes a part of the message behind it. It admits every client. Messages that do not begin
with a client's request go to whoever is connected to port 5657.
"""

from __future__ import annotations

import re
import select
import socket
import sys
from pathlib import Path

ENDS = (b"SU", b"ER", b"EN", b">H", b">I", b">N")
LAST_OF_ENVIRONMENT = b">CLIENT:ENV,END"
REQUEST = re.compile(rb">CLIENT:(?:CONNECT|REAUTH),(\d+),(\d+)")
OWN_REPLY = b"SUCCESS: client-auth command"
BANNER = b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"


class PassThrough:
    """OpenVPN's connection, and the program that is passed through, if one is connected."""

    def __init__(self, password: bytes) -> None:
        self.openvpn = socket.create_connection(("127.0.0.1", 5656))
        self.openvpn.sendall(password)
        self.listener = socket.create_server(("127.0.0.1", 5657))
        self.guest: socket.socket | None = None
        self._message = self._rest = b""

    def run(self) -> None:
        """Until OpenVPN closes the connection."""
        while True:
            guest = self.guest or self.listener
            readable, _, _ = select.select([self.openvpn, guest], [], [])
            if guest in readable:
                self._serve_guest()
            if self.openvpn in readable:
                data = self.openvpn.recv(65536)
                if not data:
                    return
                self._read(data)

    def _serve_guest(self) -> None:
        if self.guest is None:
            self.guest, _ = self.listener.accept()
            self.guest.sendall(BANNER)
        elif command := self.guest.recv(65536):
            self.openvpn.sendall(command)
        else:
            self.guest.close()
            self.guest = None

    def _read(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._message += line + b"\n"
            if line.startswith(ENDS) or line.rstrip(b"\r") == LAST_OF_ENVIRONMENT:
                self._handle(self._message)
                self._message = b""

    def _handle(self, message: bytes) -> None:
        if request := REQUEST.match(message):
            self.openvpn.sendall(b"client-auth-nt %s %s\n" % request.groups())
        elif self.guest is not None and not message.startswith(OWN_REPLY):
            self.guest.sendall(message)


if __name__ == "__main__":
    manager = PassThrough(Path(sys.argv[1]).read_bytes())
    print("ready", flush=True)
    manager.run()
