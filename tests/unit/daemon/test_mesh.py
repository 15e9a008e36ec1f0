"""The mesh itself: the base of every simulation."""

from __future__ import annotations

import logging

import trio
from trio.testing import MockClock

from cuberouted.util.tasks import run_trio
from tests.fakes.mesh import Mesh
from tests.unit.daemon.meshes import started


def story(seed):
    """What happens in a mesh, to the microsecond."""

    async def main():
        async with trio.open_nursery() as nursery:
            mesh = Mesh(nursery, seed)
            a, b, c = await started(mesh)
            for number in range(20):
                server = mesh.random.choice(mesh.servers)
                server.connect(f"host{mesh.random.randrange(5)}", f"10.100.100.{number % 7 + 1}")
                await trio.sleep(mesh.random.random())
            await mesh.random.choice(mesh.servers).crash()
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
            return [(s.name, *done) for s in (a, b, c) for done in s.kernel.applied]

    return run_trio(main, clock=MockClock(autojump_threshold=0))


def test_the_same_seed_tells_the_same_story(caplog):
    caplog.set_level(logging.CRITICAL)
    assert story(1) == story(1)
    assert story(1) != story(2)
