"""Several nodes, late messages and faults: see `mesh` and `faults`."""

from contextlib import ExitStack
from unittest.mock import patch

import pytest

from tests.unit.services.faults import THEMES, Run
from tests.unit.services.mutants import MUTANTS

SEEDS, MUTANT_SEEDS = 6, 60
"""Worlds of each theme; and worlds in which a mistake is looked for, until one has shown it."""


@pytest.mark.parametrize("theme", THEMES)
def test_one_node_has_the_address(theme):
    for seed in range(SEEDS):
        Run(theme, seed).go()


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_are_found(name):
    theme, *changes = MUTANTS[name]
    with ExitStack() as stack:
        for target, attribute, value in changes:
            stack.enter_context(patch.object(target, attribute, value))
        assert any(_fails(theme, seed) for seed in range(MUTANT_SEEDS))


def _fails(theme, seed):
    try:
        Run(theme, seed).go()
    except AssertionError:
        return True
    return False
