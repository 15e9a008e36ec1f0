"""Shares routes between OpenVPN servers that have one client subnet."""

__version__ = "0.1.0"
