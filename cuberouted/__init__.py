"""OpenVPN servers that share one client subnet tell each other where the clients are."""

__version__ = "0.1.0"
