"""Some fixed seeds, and that a seed repeats exactly. Each in a process with fixed hashes."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.simulation.mutants import check_applies
from tests.simulation.mutations import MUTATIONS

SEEDS = 24


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_no_invariant_is_violated_by_faults() -> None:
    done = simulation("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seeds {SEEDS}, " in done.stdout


@pytest.mark.parametrize("seed", [3, 11])
def test_a_seed_repeats_exactly(seed: int) -> None:
    first, second = (simulation("--seed", str(seed)).stdout for _ in range(2))
    assert re.search(r"fingerprint [0-9a-f]{16}$", first)
    assert first == second


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_replaces_what_exists(name: str) -> None:
    check_applies(name)
