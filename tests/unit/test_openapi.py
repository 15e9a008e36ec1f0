"""docs/openapi.json and docs/schemas/: complete, of this code, and true of real replies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from jsonschema import Draft202012Validator

from cuberouted.api.http import Endpoint
from cuberouted.events import AnyEvent
from tests.fakes.api import call
from tests.openapi.__main__ import DOCS, files
from tests.openapi.document import HOW, openapi, schema_name, schemas, undocumented
from tests.openapi.fields import EVENTS, REPORTS
from tests.openapi.validation import strict
from tests.unit.daemon.meshes import HOST1, HOST2

SAMPLES: Mapping[str, tuple[str, Any]] = {
    "GET /v1/events": ("/v1/events?after=0&follow=0", None),
    "GET /v1/why/{target}": (f"/v1/why/{HOST2}", None),
    "POST /v1/disconnect": ("/v1/disconnect", {"client": "host2"}),
    "POST /v1/drain": ("/v1/drain", {"dry_run": True}),
    "POST /v1/resume": ("/v1/resume", {}),
    "POST /v1/graceful-restart": ("/v1/graceful-restart", {"within": 30}),
    "POST /v1/rebalance": ("/v1/rebalance", {"per_minute": 5}),
}
"""A request for each endpoint whose path alone is none."""


class Empty(msgspec.Struct):
    hidden: str


async def handler(request):
    raise NotImplementedError


@pytest.fixture
async def daemon(mesh, autojump_clock):
    """A daemon of two, with clients, events, a problem and a conflict."""
    a, b = mesh.add("A", "allow_remote_disconnect = yes"), mesh.add("B")
    await mesh.start()
    a.connect("host1", HOST1)
    b.connect("host2", HOST2)
    await mesh.until(lambda: a.clients == {HOST2: "B"} and b.clients == {HOST1: "A"})
    a.connect("other", HOST2)
    await mesh.until(lambda: a.daemon.events.last > 5)
    return a


async def test_the_files_are_of_this_code(daemon, autojump_clock):
    wanted = files(daemon.endpoints)
    found = {path.relative_to(DOCS): path.read_text() for path in DOCS.glob("**/*.json")}
    assert found == wanted, "run `make schemas`"


async def test_every_endpoint_and_field_is_described(daemon, autojump_clock):
    assert undocumented(daemon.endpoints) == []


def test_what_is_not_described_is_found():
    bare = Endpoint("GET", "/v1/bare/{what}", handler)
    empty = Endpoint("POST", "/v1/empty", handler, summary="Nothing.", reply=Empty)
    assert undocumented([bare, empty]) == [
        "Endpoint(GET /v1/bare/{what}): write its summary=",
        "Endpoint(GET /v1/bare/{what}): name the type of its reply=",
        "Endpoint(GET /v1/bare/{what}): describe what stands for the {...} in argument=",
        f"Empty.hidden: {HOW}",
    ]


async def test_every_schema_is_one(daemon, autojump_clock):
    for schema in schemas(daemon.endpoints).values():
        Draft202012Validator.check_schema(schema)
    for schema in openapi(daemon.endpoints)["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_what_a_daemon_replies_is_as_its_schema_has_it(daemon, autojump_clock):
    documents = schemas(daemon.endpoints)
    for endpoint in daemon.endpoints:
        what = f"{endpoint.method} {endpoint.path}"
        target, body = SAMPLES.get(what, (endpoint.path, None))
        assert "{" not in target, f"add a sample for {what} to SAMPLES"
        data = b"" if body is None else json.dumps(body).encode()
        received = await call(daemon.endpoints, endpoint.method, target, data)
        replies = received.splitlines() if endpoint.stream else [received]
        assert replies
        validator = Draft202012Validator(strict(documents[f"{schema_name(endpoint)}.json"]))
        for reply in replies:
            validator.validate(json.loads(reply))


async def test_a_reply_that_lacks_a_field_or_has_another_is_found(daemon, autojump_clock):
    schema = strict(schemas(daemon.endpoints)["status.json"])
    status = json.loads(await call(daemon.endpoints, "GET", "/v1/status"))
    jsonschema.validate(status, schema)
    for wrong in (
        {key: value for key, value in status.items() if key != "uptime"},
        status | {"more": 1},
        status | {"uptime": "long"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_files_are_named_after_their_endpoint():
    assert schema_name(Endpoint("GET", "/v1/peers/check", handler)) == "peers-check"
    assert schema_name(Endpoint("GET", "/v1/why/{target}", handler)) == "why"
    assert Path(DOCS, "schemas").is_dir()


async def test_no_text_is_of_a_field_that_is_gone(daemon, autojump_clock):
    found = schemas_by_name(daemon)
    assert {f"{name}.{field}" for name, texts in REPORTS.items() for field in texts} <= {
        f"{name}.{field}" for name, schema in found.items() for field in schema["properties"]
    }
    fields = [field for kind in get_args(AnyEvent) for field in msgspec.structs.fields(kind)]
    assert {field.encode_name for field in fields} | {"type", "level", "text"} >= EVENTS.keys()


def schemas_by_name(daemon):
    found = openapi(daemon.endpoints)["components"]["schemas"]
    for schema in schemas(daemon.endpoints).values():
        found |= schema["$defs"]
    return {name: schema for name, schema in found.items() if "properties" in schema}
