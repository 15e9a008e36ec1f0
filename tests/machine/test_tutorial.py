"""docs/tutorial.md, command by command, on four machines."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

from tests.machine.conftest import NewMachine
from tests.machine.machine import Machine
from tests.machine.published import PROJECT, block
from tests.machine.site import package
from tests.pages import Block, blocks

PAGE = PROJECT / "docs/tutorial.md"
HOSTS = {"vpnsrvA": "bookworm", "vpnsrvB": "trixie", "host1": "trixie", "host2": "bookworm"}
"""In the order of their addresses, from 192.0.2.1: a server and a client of each release."""

DIRECTORY = "/root/downloads"
"""Where the package is."""

NETWORKD = "/etc/systemd/networkd.conf.d/cuberouted.conf"
"""The machines' own network is systemd-networkd's, which most servers do not run."""

SCP = """\
#!/bin/sh
set -e
eval "to=\\${$#}"
mkdir -p "/run/scp/${to#root@}"
while [ $# -gt 1 ]; do cp "$1" "/run/scp/${to#root@}"; shift; done
"""
"""Stands in for scp, as no machine runs sshd: `Reader` carries the files over."""

PATIENCE = 20.0
"""Seconds in which a command prints what the page shows."""

COLOURS = re.compile(r"\x1b\[[\d;]*m")
VOLATILE = re.compile(
    r"\d+(\.\d+)? (s|min|h)( \d+ s)?( ago)?|time \d+ms"  # since when, for how long
    r"|\b2\.\d\.\d+\b"  # OpenVPN's version
    r"|\d+ checks|nhid \d+"
)
"""What differs from the page each time."""


def test_the_tutorial_works_as_it_is_written(new_machine: NewMachine) -> None:
    machines = {name: new_machine(name, suite) for name, suite in HOSTS.items()}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda machine: machine.boot(), machines.values()))
    for server in (machines["vpnsrvA"], machines["vpnsrvB"]):
        deb = package(server.suite)
        server.copy_in(deb, f"{DIRECTORY}/{deb.name}")
        server.write("/usr/local/bin/scp", SCP, 0o755)
        server.write(NETWORKD, block(f"# {NETWORKD}"))
    reader = Reader(machines)
    for each in blocks(PAGE):
        reader.follow(each)


def test_what_a_page_shows_is_compared_but_for_what_differs_each_time() -> None:
    shown = ["ADDRESS        CONNECTED", "10.100.100.14  5 s ago", "..."]
    assert shows("ADDRESS       CONNECTED\n10.100.100.14 1 min 3 s ago\nmore\n", shown)
    assert shows("ADDRESS       CONNECTED\n10.100.100.14 \x1b[1m7 s ago\x1b[0m\n", shown)
    assert not shows("ADDRESS       CONNECTED\n10.100.100.18 5 s ago\n", shown)
    assert not shows("ADDRESS       CONNECTED\n", shown)


class Reader:
    """Does on the machines what the page says."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self._machines = machines
        self._public_keys: dict[str, str] = {}

    def follow(self, step: Block) -> None:
        """Writes the file, or runs the commands, of one block."""
        for host, command, shown in step.session:
            self._see(self._machines[host], command, shown)
        if not step.session:
            assert step.hosts, f"{step}: for which host?"
            with ThreadPoolExecutor() as pool:  # a server each, as two terminals
                list(pool.map(lambda host: self._do(self._machines[host], step), step.hosts))

    def _do(self, machine: Machine, step: Block) -> None:
        if step.path:
            machine.write(step.path, self._filled_in(step.text))
        else:
            self._run(machine, step.text)

    def _filled_in(self, text: str) -> str:
        """*text* with the keys that the other server has printed."""
        for host, key in self._public_keys.items():
            text = text.replace(f"PUBLIC-KEY-OF-{host.upper()}", key)
        assert "PUBLIC-KEY" not in text
        return text

    def _run(self, machine: Machine, commands: str) -> None:
        """Runs commands in one shell, until one fails."""
        wrote = machine.run("bash", "-ec", f"mkdir -p {DIRECTORY}; cd {DIRECTORY}\n{commands}")
        if "wg pubkey" in commands:
            self._public_keys[machine.name] = wrote.strip()
        if "scp " in commands:
            self._carry_over(machine)

    def _carry_over(self, machine: Machine) -> None:
        """Writes what was given to scp on *machine* where it belongs."""
        by_address = {each.address: each for each in self._machines.values()}
        for path in machine.run("find", "/run/scp", "-type", "f").split():
            address, _, there = path.removeprefix("/run/scp/").partition(":")
            by_address[address].write(there, machine.read(path), 0o600)

    def _see(self, machine: Machine, command: str, shown: list[str]) -> None:
        """Runs a command, again until it prints what the page shows, as a reader would."""
        # on a terminal: in a pipe cuberouted prints for programs
        argv = ("script", "-qec", f"stty cols 100; {command}", "/dev/null")

        def look() -> bool:
            output = machine.try_run(*argv).stdout
            assert shows(output, shown), output
            return True

        machine.wait_for(f"`{command}` to print what the page shows", look, PATIENCE)


def shows(output: str, shown: list[str]) -> bool:
    """Whether *output* has these lines and no others; ``...`` stands for any number of lines."""
    lines = [r"(?:.*\n)*?" if line == "..." else re.escape(_stable(line)) + r"\n" for line in shown]
    printed = "".join(f"{_stable(line)}\n" for line in output.splitlines())
    return re.fullmatch("".join(lines), printed) is not None


def _stable(line: str) -> str:
    """*line* without what differs each time, its columns one space apart."""
    return " ".join(VOLATILE.sub("_", COLOURS.sub("", line)).split())
