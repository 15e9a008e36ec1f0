"""The configuration file: ``key = value``, ``[peer NAME]`` and ``[openvpn NAME]`` sections."""

from cuberouted.config.build import parse
from cuberouted.config.converters import ListenAddress
from cuberouted.config.load import load
from cuberouted.config.schema import (
    DEFAULT_CONTROL_SOCKET,
    Config,
    LogFormat,
    OnExit,
    OpenVPNConfig,
    PeerConfig,
    Placement,
    ServiceConfig,
    restart_needed,
)
from cuberouted.config.text import ConfigError, ConfigProblem

__all__ = [
    "DEFAULT_CONTROL_SOCKET",
    "Config",
    "ConfigError",
    "ConfigProblem",
    "ListenAddress",
    "LogFormat",
    "OnExit",
    "OpenVPNConfig",
    "PeerConfig",
    "Placement",
    "ServiceConfig",
    "load",
    "parse",
    "restart_needed",
]
