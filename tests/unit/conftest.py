from __future__ import annotations

import pytest

from tests.fakes.mesh import Mesh


@pytest.fixture
def mesh(nursery):
    """A mesh without servers yet; such a test has to ask for `autojump_clock` itself."""
    return Mesh(nursery)
