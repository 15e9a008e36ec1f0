from __future__ import annotations

import subprocess
import sys

import pytest

PURE = (
    "messages",
    "parts",
    "publisher",
    "session",
    "feed",
    "request",
    "table",
    "news",
    "standing",
    "states",
)


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_neither_trio_nor_zmq(module: str) -> None:
    code = (
        f"import sys, cuberouted.sharing.{module};"
        "sys.exit(bool({'trio', 'zmq', 'pyroute2'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
