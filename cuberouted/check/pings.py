"""Pings the peers through their tunnels, all at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from cuberouted.api.report_peers import PeerCheck
from cuberouted.check.peers import IPV4_HEADERS, IPV6_HEADERS, PeerPings

TIMEOUT = 5.0
"""Seconds until ping is killed; it ends by itself within three."""
SMALL = 56
"""Bytes of content of a small ping."""


class PingError(Exception):
    """No ping can be sent. str() says why."""


def ping_peers(peers: Iterable[PeerCheck]) -> dict[str, PeerPings]:
    """How each peer that can be reached answers a small and a full-size ping.

    Raises:
      PingError: there is no program ping.
    """
    program = shutil.which("ping", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise PingError("the program ping is not installed (Debian: iputils-ping)")
    started = [
        (one, _start(program, one, SMALL), _start(program, one, full_size(one)))
        for one in peers
        if not one.port and one.mtu
    ]
    return {one.name: PeerPings(_result(small), _result(full)) for one, small, full in started}


def full_size(one: PeerCheck) -> int:
    """Bytes of content of a ping that is as large as the MTU."""
    return one.mtu - (IPV6_HEADERS if ":" in one.address else IPV4_HEADERS)


def _start(program: str, one: PeerCheck, size: int) -> subprocess.Popen[str]:
    options = ["-n", "-q", "-c", "2", "-i", "0.2", "-W", "1", "-w", "3", "-M", "do"]
    return subprocess.Popen(  # noqa: S603 - names and addresses from the configuration
        [program, *options, "-s", str(size), "-I", one.interface, one.address],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
    )


def _result(process: subprocess.Popen[str]) -> str:
    try:
        _, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "ping did not end"
    if process.returncode == 0:
        return ""
    told = errors.strip().splitlines()
    return told[-1].removeprefix("ping: ") if told else "no answer"
