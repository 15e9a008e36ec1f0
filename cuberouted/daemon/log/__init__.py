"""The log: events and the records of `logging`, on standard error or in the journal."""

from cuberouted.daemon.log.log import Log

__all__ = ["Log"]
