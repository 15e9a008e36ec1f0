"""The kinds of faults, each registered in `FAULTS`."""

from tests.simulation.faults import kernels, networks, nodes, openvpns, services
from tests.simulation.faults.registry import FAULTS, themes

__all__ = ["FAULTS", "kernels", "networks", "nodes", "openvpns", "services", "themes"]
