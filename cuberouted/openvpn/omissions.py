"""What listings show that is not shared, or not to be relied on: a sentence each. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import attrs

from cuberouted.events import Emit, OpenVPNWarningBegan, OpenVPNWarningEnded
from cuberouted.model import SessionId, printable_name
from cuberouted.openvpn.status import Listing
from cuberouted.util.ratelimit import LogRateLimit

UNNAMED_DELAY = 2.0
"""Seconds for which a session has no name in listings until that is told. While OpenVPN sets up a
session again at an old one's real address it lists no name either."""

MAX_ROW = 160
"""Characters of a row that are shown."""

_VERSION = re.compile(rb"OpenVPN (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4})|[_-]\w*)?")


class Omission(enum.StrEnum):
    """What is wrong with a listing."""

    UNNAMED = "clients without a common name"
    ETHERNET = "clients of a tap device"
    UNREADABLE = "rows that cannot be read"
    GHOSTS = "DCO of an OpenVPN that keeps ghost clients"


WARNINGS = frozenset({Omission.GHOSTS})


def has_ghosts(listing: Listing) -> bool:
    """Whether reading this OpenVPN's list can leave clients in it that have gone."""
    return listing.dco and dco_leaves_ghosts(listing.title)


def dco_leaves_ghosts(title: bytes) -> bool:
    """Whether OpenVPN's version in *title* (``OpenVPN 2.6.14 ...``) leaves ghosts with DCO.

    Reading the counters discards the kernel's message that a client has gone (OpenVPN commits
    7791f535 in 2.7.0, e78a8af2 in 2.6.20).
    """
    version = _VERSION.match(title)
    if version is None:
        return False
    release = (int(version[1]), int(version[2]))
    # 2.7_beta1 has no third number, and comes before 2.7.0
    patch = -1 if version[3] is None else int(version[3])
    return (*release, patch) < ((2, 6, 20) if release <= (2, 6) else (2, 7, 0))


@attrs.define
class Omissions:
    """What the last complete listing of one OpenVPN process omits."""

    sentences: Mapping[Omission, str] = attrs.field(factory=dict)
    count: int = 0
    """How many rows of the listing are not shared."""
    _unnamed: dict[tuple[bytes, SessionId], float] = attrs.field(factory=dict)  # since when

    def update(self, listing: Listing, now: float) -> None:
        """Take what *listing* shows. *now*: monotonic seconds."""
        known = self._unnamed
        self._unnamed = {session: known.get(session, now) for session in listing.unnamed}
        unnamed = sum(now - since >= UNNAMED_DELAY for since in self._unnamed.values())
        found = {}
        if unnamed:
            found[Omission.UNNAMED] = (
                f"not shared: {_clients(unnamed)} without a common name (UNDEF); with"
                " 'verify-client-cert none', add 'username-as-common-name' to OpenVPN's"
                " configuration"
            )
        if listing.ignored.mac:
            found[Omission.ETHERNET] = (
                "not shared: the clients of a tap device, which are listed by MAC addresses; use"
                " 'dev tun' in OpenVPN's configuration: cuberouted routes IP prefixes"
            )
        if listing.ignored.malformed:
            found[Omission.UNREADABLE] = (
                f"not shared: {_rows(listing.ignored.malformed)} of OpenVPN's listing that cannot"
                f" be read, first {printable_name(listing.unreadable)[:MAX_ROW]!r}; report it"
                " with OpenVPN's version"
            )
        if has_ghosts(listing):
            found[Omission.GHOSTS] = (
                "with DCO, this version of OpenVPN may list clients for ever that have gone;"
                " update it to 2.6.20, 2.7.0 or newer, or add 'disable-dco' to its configuration"
            )
        self.sentences = found
        self.count = unnamed + listing.ignored.mac + listing.ignored.malformed

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each thing that is not shared."""
        return tuple(text for what, text in self.sentences.items() if what not in WARNINGS)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each thing that may be wrong, which only a change of OpenVPN ends."""
        return tuple(text for what, text in self.sentences.items() if what in WARNINGS)


@attrs.define
class OmissionEvents:
    """Emits where an omission begins, and where it ends.

    Once a minute for each omission: strangers who begin a handshake and give up are clients
    without a common name, and could otherwise push other events out of the ring.
    """

    emit: Emit
    openvpn: str
    _begun: set[Omission] = attrs.field(factory=set)
    _limit: LogRateLimit = attrs.field(factory=LogRateLimit)

    def update(self, sentences: Mapping[Omission, str], now: float) -> None:
        """These are the omissions now."""
        for what in Omission:
            if what in sentences and what not in self._begun:
                if self._limit.allow(what, now) is not None:  # else at a later listing
                    self._begun.add(what)
                    why = sentences[what]
                    self.emit(OpenVPNWarningBegan(openvpn=self.openvpn, what=what, why=why))
            elif what in self._begun and what not in sentences:
                self._begun.remove(what)
                self.emit(OpenVPNWarningEnded(openvpn=self.openvpn, what=what))


def _clients(number: int) -> str:
    return "1 client" if number == 1 else f"{number} clients"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"
