"""Facts of a host where all is well, and what is found where it is not."""

from __future__ import annotations

import attrs

from cuberouted.check.facts import HostFacts
from cuberouted.check.finding import Level
from cuberouted.check.rules import run_checks, sysctls_to_read
from cuberouted.daemon.host import HostState, evaluate_links
from tests.fakes.samples import LINKS, THREE_SERVERS, config

OK, UNSEEN, WARNING, PROBLEM = Level


def sysctls(configuration, links=LINKS, **other):
    """Those of a host that forwards everything; *other* by the last two parts of their path."""
    paths = sysctls_to_read(configuration, links)
    return {path: "0" if path.endswith("rp_filter") else "1" for path in paths} | other


def facts(configuration, links=LINKS, **other):
    well = HostFacts(
        links=tuple(links),
        host=evaluate_links(configuration, links, {}, HostState()),
        missing_capability=None,
        sysctls=sysctls(configuration, links),
        openvpn={openvpn.name: None for openvpn in configuration.openvpns},
        busy={},
        unreadable={},
        daemon=False,
    )
    return attrs.evolve(well, **other)


def found(text=THREE_SERVERS, links=LINKS, **other):
    configuration = config(text)
    return run_checks(configuration, facts(configuration, links, **other))


def bad(*args, **other):
    """What is not all right, by subject."""
    return {f.subject: (f.level, f.text) for f in found(*args, **other) if f.level is not OK}


def cures(*args, **other):
    """What to do where it is not all right, by subject: advice and command."""
    return {f.subject: (f.advice, f.command) for f in found(*args, **other) if f.level is not OK}
