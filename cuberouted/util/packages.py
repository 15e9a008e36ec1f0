"""How to install a Python package for the Python that runs this."""

from __future__ import annotations

import sys
from typing import Final

PROMETHEUS_CLIENT: Final = "prometheus_client"
"""What /metrics needs."""

_DEBIAN: Final = "/usr"
"""``sys.prefix`` of Debian's own Python, outside of virtual environments."""


def install_command(package: str) -> str:
    """The command that installs *package* where this process finds it.

    Packages of Debian are not seen in a virtual environment.
    """
    if sys.prefix == _DEBIAN:
        return f"apt install python3-{package.replace('_', '-')}"
    return f"{sys.prefix}/bin/pip install {package}"
