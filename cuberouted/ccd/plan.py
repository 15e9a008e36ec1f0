"""Compares the clients of the hosts file with the files that there are: what is to change. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from cuberouted.ccd.clients import DEFAULT, Client, Clients
from cuberouted.ccd.hosts import Note
from cuberouted.ccd.text import PUSH, PUSH6, ClientText, format_client, parse_client


class Action(enum.StrEnum):
    """What becomes of a file."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


@attrs.frozen
class Change:
    """A file that is to become another: *before* and *after* are its contents, None without it."""

    name: str
    before: bytes | None
    after: bytes | None
    made: tuple[str, ...] = ()

    @property
    def action(self) -> Action:
        """What becomes of it."""
        if self.before is None:
            return Action.CREATE
        return Action.REMOVE if self.after is None else Action.CHANGE


@attrs.frozen
class Plan:
    """What is to change, by name. ``mistakes``: nothing may be written then.

    ``warnings``: clients that do not get the address of the hosts file. ``unchanged``: the number
    of files of the command that are as they have to be.
    """

    changes: tuple[Change, ...]
    mistakes: tuple[Note, ...]
    warnings: tuple[Note, ...]
    unchanged: int


def make_plan(
    clients: Clients, present: Mapping[str, bytes | str], directory: Path, hosts_file: Path
) -> Plan:
    """What makes *directory*, with the files *present*, say what the hosts file says.

    *present*: by name the content, or why there is none to read.
    """
    return _Planner(clients, directory, hosts_file).result(present)


class _Planner:
    def __init__(self, clients: Clients, directory: Path, hosts_file: Path) -> None:
        self._clients = clients
        self._owners = clients.by_address
        self._directory = directory
        self._hosts_file = hosts_file
        self._changes = list[Change]()
        self._mistakes = list[Note](clients.mistakes)
        self._warnings = list[Note]()
        self._unchanged = 0

    def result(self, present: Mapping[str, bytes | str]) -> Plan:
        for name in sorted({*present, *self._clients.by_name} - {DEFAULT}):
            client, content = self._clients.by_name.get(name), present.get(name)
            if content is None:
                if client is not None:
                    self._replace(client, None, b"")
            elif isinstance(content, str):
                if client is not None:
                    self._mistake(name, None, f"{content}, and is left alone")
            else:
                self._compare(name, client, content)
        if self._changes and not self._clients.by_name:
            # an empty file, or another one than was meant
            why = f"has no client, and {len(self._changes)} would lose their addresses"
            self._mistakes.append(Note(self._hosts_file, None, why))
        return Plan(
            tuple(self._changes), tuple(self._mistakes), tuple(self._warnings), self._unchanged
        )

    def _compare(self, name: str, client: Client | None, content: bytes) -> None:
        text = parse_client(content)
        self._mistakes += self._conflicts(name, client, text)
        for line, strange in text.strange:
            why = f"`{strange}` stands above the marker, where it would be lost: move it below"
            self._mistake(name, line, why)
        if client is None:
            if text.ours:
                self._retire(name, content, text.hand)
        elif text.ours:
            self._replace(client, content, text.hand)
        else:
            self._warnings += self._missing(client, text)

    def _replace(self, client: Client, before: bytes | None, hand: bytes) -> None:
        self._change(Change(client.name, before, format_client(client.made, hand), client.made))

    def _retire(self, name: str, before: bytes, hand: bytes) -> None:
        """Remove what the command has made for a client that is gone from the hosts file."""
        change = Change(name, before, format_client((), hand) if hand.strip() else None)
        self._change(change)
        if name in self._clients.outside and change.before != change.after:
            self._warnings.append(self._clients.outside[name])

    def _change(self, change: Change) -> None:
        if change.before == change.after:
            self._unchanged += 1
        else:
            self._changes.append(change)

    def _conflicts(self, name: str, client: Client | None, text: ClientText) -> Iterator[Note]:
        """Addresses by hand that the hosts file gives to somebody else, or other ones."""
        for version, push in text.pushes.items():
            host = client.host(version) if client else None
            owner = self._owners.get(push.address) if push.address else None
            if host is not None and push.address != host.address:
                why = f"{self._hosts_file}:{host.line} gives {name} {host.address}"
            elif owner is not None and owner[0].name != name:
                other, line = owner
                why = f"{self._hosts_file}:{line.line} gives {line.address} to {other.name}"
            else:
                continue
            text_ = f"`{push.text}` is written by hand, and {why}: remove one of them"
            yield Note(self._directory / name, push.line, text_)

    def _missing(self, client: Client, text: ClientText) -> Iterator[Note]:
        """What a file that is written by hand does not give its client."""
        for host in client.hosts:
            if host.address.version not in text.pushes:
                option = PUSH if host.address.version == 4 else PUSH6
                yield Note(
                    self._directory / client.name,
                    None,
                    f"is written by hand, without {option}: {client.name} does not get"
                    f" {host.address} of {self._hosts_file}:{host.line}",
                )

    def _mistake(self, name: str, line: int | None, text: str) -> None:
        self._mistakes.append(Note(self._directory / name, line, text))


def stricter(plan: Plan, clients: Clients) -> Plan:
    """*plan* where warnings and hosts outside the clients' subnet are mistakes, too."""
    mistakes = dict.fromkeys((*plan.mistakes, *clients.outside.values(), *plan.warnings))
    return attrs.evolve(plan, mistakes=tuple(mistakes), warnings=())
