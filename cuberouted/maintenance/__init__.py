"""Maintenance of this node: sending its clients on, and what became of them. Pure.

`daemon.maintenance` runs what is decided here.
"""
