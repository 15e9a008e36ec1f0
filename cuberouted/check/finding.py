"""What a rule of `check` finds. Values only."""

from __future__ import annotations

import enum

import attrs

from cuberouted.check.catalogue import CHECKS, Check


class Level(enum.Enum):
    """The severity of a finding, the mildest first. UNSEEN: `check` could not look, or cannot
    judge what it saw; a person has to.
    """

    OK = "ok"
    UNSEEN = "could not look"
    WARNING = "warning"
    PROBLEM = "problem"

    @property
    def severity(self) -> int:
        """A number that is larger for what is worse."""
        return list(Level).index(self)


@attrs.frozen
class Finding:
    """The result of one rule.

    ``id``: a key of `CHECKS`. ``text``: what is. ``advice``: what to do, in words, or empty.
    ``command``: a line for a shell that mends it, or empty. ``about``: the things that it
    concerns, by which its causes are found (`causes`): values of `interface`, `peer` and
    `openvpn`.
    """

    level: Level
    id: str = attrs.field(validator=attrs.validators.in_(CHECKS))
    subject: str
    text: str
    advice: str = ""
    command: str = ""
    about: frozenset[str] = frozenset()

    @property
    def check(self) -> Check:
        """What is known of every finding with this id."""
        return CHECKS[self.id]


def interface(name: str) -> str:
    """An interface, as a thing that a finding is about."""
    return f"interface {name}"


def peer(label: str) -> str:
    """A peer, as a thing that a finding is about; and the subject of findings on it."""
    return f"peer {label}"


def openvpn(name: str) -> str:
    """An OpenVPN process, as a thing that a finding is about; and the subject of findings on it."""
    return f"openvpn {name}".rstrip()


def reported_name(name: str) -> str:
    """The name with which the daemon reports the OpenVPN process of this name."""
    return name or "openvpn"
