"""Writes docs/openapi.json and docs/schemas/: `make schemas`."""

from __future__ import annotations

import json
from pathlib import Path

import trio
import trio.testing

from cuberouted.api.http import Endpoint
from cuberouted.util.tasks import run_trio
from tests.fakes.mesh import Mesh
from tests.openapi.document import openapi, schemas

DOCS = Path(__file__).parents[2] / "docs"


async def endpoints() -> tuple[Endpoint, ...]:
    """What a daemon serves."""
    async with trio.open_nursery() as nursery:
        mesh = Mesh(nursery)
        server, _ = mesh.add("A"), mesh.add("B")
        await mesh.start()
        found = server.endpoints
        nursery.cancel_scope.cancel()
    return found


def files(found: tuple[Endpoint, ...]) -> dict[Path, str]:
    """The content of each file below `DOCS`."""
    documents = {Path("openapi.json"): openapi(found)}
    documents |= {Path("schemas", name): schema for name, schema in schemas(found).items()}
    return {
        path: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for path, document in documents.items()
    }


def main() -> None:
    """Write them all."""
    wanted = files(run_trio(endpoints, clock=trio.testing.MockClock(autojump_threshold=0)))
    for stale in DOCS.glob("schemas/*.json"):
        stale.unlink()
    for path, text in wanted.items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text)


if __name__ == "__main__":
    main()
