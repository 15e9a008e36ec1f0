"""Pings for `cuberouted why --ping`: through the tunnel to the peer, and to the address itself.

The program `ping` sends them, which may do so for every user; a few seconds at most in all.
"""

from __future__ import annotations

import fcntl
import itertools
import re
import socket
import statistics
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address

import attrs
import msgspec

from cuberouted.api.report_why import Why, WhyAddress, WhyPing

SMALL = 84
"""Bytes with the IP header: what `ping` sends without options."""

COUNT, INTERVAL, PATIENCE = 3, 0.2, 1
"""Packets, seconds between them, and whole seconds to wait for the last answer."""

LIMIT = 10.0
"""Seconds after which a `ping` that hangs is ended."""

_HEADERS = {4: 20 + 8, 6: 40 + 8}
_SIOCGIFMTU = 0x8921  # linux/sockios.h
_TIME = re.compile(r"time=([0-9.]+) ms")
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"}


@attrs.frozen
class Job:
    """Pings of one size to one address. *bound*: only through ``interface``."""

    address: str
    what: str
    interface: str
    size: int
    bound: bool


def with_pings(why: Why, *, client_too: bool) -> Why:
    """*why* with the answers to pings, which may change its verdicts."""
    work = [[*jobs(one, client_too=client_too)] for one in why.addresses]
    found = run(dict.fromkeys(itertools.chain(*work)))
    addresses = [
        judged(msgspec.structs.replace(one, pings=[found[job] for job in its]))
        for one, its in zip(why.addresses, work, strict=True)
    ]
    addresses.sort(key=lambda one: one.reached)
    if not addresses:
        return why
    first, known = addresses[0], why.node is not None
    return msgspec.structs.replace(
        why,
        reached=first.reached and known,
        verdict=first.verdict,
        advice=first.advice,
        addresses=addresses,
    )


def jobs(one: WhyAddress, *, client_too: bool) -> Iterator[Job]:
    """What to ping for one address: small, and as large as the tunnel carries in one piece."""
    peer, targets = one.peer, []
    if peer is not None:
        addresses = filter(None, (peer.mgmt_ip, peer.data_ip))
        targets = [(address, "peer", peer.interface, True) for address in addresses]
    interface = one.lookups[0].interface if one.lookups else None
    if client_too and interface is not None and "/" not in one.address:
        targets.append((one.address, "client", interface, False))
    for address, what, through, bound in targets:
        for size in dict.fromkeys((SMALL, mtu(through) or SMALL)):
            yield Job(address, what, through, size, bound)


def mtu(interface: str) -> int | None:
    """The interface's MTU in bytes; None if there is no such interface."""
    request = struct.pack("16si12x", interface.encode()[:15], 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
        answer = fcntl.ioctl(sock, _SIOCGIFMTU, request)
        return int(struct.unpack("16si12x", answer)[1])
    return None


def run(work: Iterable[Job]) -> dict[Job, WhyPing]:
    """The outcome of each of these, which run at the same time."""
    running = {job: _start(job) for job in work}
    return {job: _outcome(job, process) for job, process in running.items()}


def _start(job: Job) -> subprocess.Popen[str] | None:
    try:
        return subprocess.Popen(  # noqa: S603 - no shell; the address is one
            command(job),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_ENVIRONMENT,
        )
    except OSError:
        return None


def command(job: Job) -> list[str]:
    """The `ping` of iputils that does *job*, without fragments."""
    payload = job.size - _HEADERS[ip_address(job.address).version]
    through = ["-I", job.interface] if job.bound else []
    options = ["-n", "-c", str(COUNT), "-i", str(INTERVAL), "-W", str(PATIENCE), "-M", "do"]
    return ["ping", *options, "-s", str(max(payload, 0)), *through, job.address]


def _outcome(job: Job, process: subprocess.Popen[str] | None) -> WhyPing:
    result = WhyPing(job.address, job.what, job.interface, job.size, COUNT, 0)
    if process is None:
        result.sent, result.problem = 0, "the program ping (Debian: iputils-ping) cannot be run"
        return result
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    return read(result, output, process.returncode)


def read(result: WhyPing, output: str, status: int) -> WhyPing:
    """Fill *result* from what `ping` wrote, and its exit status: 2 is an error."""
    times = [float(time) / 1000 for time in _TIME.findall(output)]
    result.received = len(times)
    if times:
        result.rtt = round(statistics.median(times), 6)
    errors = [line for line in output.splitlines() if "too long" in line or "ing: " in line[:6]]
    if not times and errors:
        result.problem = errors[0].removeprefix("ping: ")
    if status == 2 and not errors:
        result.problem = "ping failed"
    return result


def judged(one: WhyAddress) -> WhyAddress:
    """The verdict with what the pings showed."""
    small = [ping for ping in one.pings if ping.size <= SMALL and ping.sent]
    answered = {ping.address for ping in small if ping.received}
    asked = [ping for ping in small if ping.what == "client"]
    peers = [ping for ping in small if ping.what == "peer"]
    if any(ping.received for ping in asked):
        if not one.reached:
            one.reached, one.verdict = True, f"{one.verdict}; but it answers pings"
    elif one.reached and peers and not any(ping.received for ping in peers) and one.peer:
        one.reached = False
        one.verdict = (
            f"{one.address} is not reached: {one.peer.name} answers no ping through"
            f" {one.peer.interface}"
        )
        one.advice = f"look at both ends of the tunnel {one.peer.interface}, and at their firewalls"
    elif one.reached and asked:
        one.reached = False
        one.verdict = f"{one.address} answers no ping, although all else looks right"
        one.advice = "it may be gone without a word, or a firewall (often its own) drops pings"
    large = [ping for ping in one.pings if ping.size > SMALL and ping.address in answered]
    lost = next((ping for ping in large if not ping.received), None)
    if one.reached and lost is not None:
        one.reached = False
        one.verdict = (
            f"only small packets reach {one.address}: none of {lost.size} bytes, the MTU of"
            f" {lost.interface}, gets to {lost.address}"
        )
        one.advice = f"lower the MTU on both ends: `ip link set {lost.interface} mtu 1400`"
    return one
