"""Deliberate mistakes, each registered in `MUTATIONS`."""

from tests.simulation.mutations import routes, services
from tests.simulation.mutations.registry import MUTATIONS

__all__ = ["MUTATIONS", "routes", "services"]
