"""Shared service addresses: which node has one, decided from the claims of all nodes. Pure.

`daemon.services` runs what is decided here.
"""
