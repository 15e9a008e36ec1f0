"""The configuration file: one ``key = value`` a line, ``[peer NAME]`` and ``[openvpn NAME]``."""

from cuberouted.config.build import parse
from cuberouted.config.keys import OnExit
from cuberouted.config.load import load
from cuberouted.config.problems import ConfigError, Problem
from cuberouted.config.values import Config, OpenVPNConfig, PeerConfig, restart_needed

__all__ = [
    "Config",
    "ConfigError",
    "OnExit",
    "OpenVPNConfig",
    "PeerConfig",
    "Problem",
    "load",
    "parse",
    "restart_needed",
]
