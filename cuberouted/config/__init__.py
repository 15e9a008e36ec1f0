"""The configuration file: one ``key = value`` a line, ``[peer NAME]`` and ``[openvpn NAME]``."""

from cuberouted.config.build import parse
from cuberouted.config.load import load
from cuberouted.config.schema import OnExit
from cuberouted.config.text import ConfigError, ConfigProblem
from cuberouted.config.values import Config, OpenVPNConfig, PeerConfig, restart_needed

__all__ = [
    "Config",
    "ConfigError",
    "ConfigProblem",
    "OnExit",
    "OpenVPNConfig",
    "PeerConfig",
    "load",
    "parse",
    "restart_needed",
]
