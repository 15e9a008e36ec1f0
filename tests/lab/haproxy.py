"""HAProxy on a host of the lab, with one of the configurations that docs/web.md has."""

from __future__ import annotations

import re
import socket

from tests.lab.host import PROJECT, Host
from tests.lab.process import Process

CONFIG, DIRECTORY, SOCKET = "/run/haproxy/haproxy.cfg", "/etc/haproxy", "/run/haproxy/stats"

DOCUMENTED: tuple[str, ...] = tuple(
    re.findall(
        rf"^```\n# {DIRECTORY}/haproxy.cfg\n(.*?)^```$",
        (PROJECT / "docs/web.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
"""The configurations of docs/web.md, in order."""


def documented(frontend: str) -> str:
    """The one that has this frontend."""
    (found,) = (text for text in DOCUMENTED if f"\nfrontend {frontend}\n" in text)
    return found


class HAProxy:
    """HAProxy with the configuration *text*, whose files are in /run/haproxy instead of /etc."""

    def __init__(self, host: Host, text: str) -> None:
        self._host = host
        begin = f"global\n    stats socket {SOCKET}\n    log stderr local0\n"
        host.write(CONFIG, begin + text.replace(DIRECTORY, "/run/haproxy"))
        self._process: Process

    def start(self) -> None:
        """Starts it, and waits until it answers: its socket exists before it listens there."""
        self._process = self._host.start("haproxy", "haproxy", "-db", "-f", CONFIG)
        self._process.wait_for("to answer", self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.states())
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def states(self) -> dict[str, str]:
        """By the name of a server, ``UP`` or ``DOWN``, or on the way there ``UP 1/2``."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._host.path(SOCKET)))
            connection.sendall(b"show stat\n")
            answer = b""
            while data := connection.recv(65536):
                answer += data
        names, *rows = (row.split(",") for row in answer.decode().splitlines() if row)
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return {
            row["svname"]: row["status"]
            for row in found
            if row["svname"] not in ("FRONTEND", "BACKEND")
        }
