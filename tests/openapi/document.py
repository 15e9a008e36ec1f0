"""Makes the OpenAPI document, and the schemas of the replies and of what commands print as JSON.

From the endpoints, and the structs of both.

Pure. A field is described by `msgspec.Meta` where it is defined, or else in `fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from cuberouted.api.http import LINES, Endpoint
from cuberouted.api.protocol import ErrorReply
from cuberouted.api.report import Routes
from cuberouted.ccd.report import CcdReport
from cuberouted.check.verdict import CheckReport
from cuberouted.events import AnyEvent, Level
from tests.openapi.fields import EVENTS, INTRODUCTION, REPORTS

VERSION = "1"
"""Of the API: its paths begin with "/v1/". It changes with whatever would break a client."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

COMMANDS: Mapping[str, tuple[Any, str]] = {
    "ccd": (CcdReport, "What is to be changed in a client-config-dir, or was."),
    "check": (CheckReport, "What is right on this host and what is not."),
    "dump-routes": (Routes, "The routes of cuberouted in this host's kernel."),
}
"""Commands whose JSON is no reply of an endpoint."""

PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""RFC 9110's, where Python before 3.13 has those of older RFCs."""

HOW = "describe it by Annotated[..., msgspec.Meta(description=)], or in tests/openapi/fields.py"

Json = dict[str, Any]

_EVENTS = frozenset(kind.__name__ for kind in get_args(AnyEvent))


def openapi(endpoints: Iterable[Endpoint]) -> Json:
    """The OpenAPI 3.1 document."""
    endpoints = list(endpoints)
    schemas = _components([e.reply for e in endpoints], "#/components/schemas/{name}")
    schemas |= _components([ErrorReply], "#/components/schemas/{name}")
    bodies = [e.body for e in endpoints if e.body is not None]
    inputs = _components(bodies, "#/components/schemas/{name}", replies=False)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cuberouted",
            "version": VERSION,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://localhost", "description": "The control socket."}],
        "paths": paths,
        "components": {"schemas": dict(sorted((inputs | schemas).items()))},
    }


def schemas(endpoints: Iterable[Endpoint]) -> dict[str, Json]:
    """By the name of the file: the JSON schema of a reply, of a line of a stream, or of what a
    command prints.
    """
    found = {}
    for endpoint in endpoints:
        name = schema_name(endpoint)
        line = ", one line of the stream" if endpoint.content_type == LINES else ""
        title = f"{endpoint.method} {endpoint.path}{line}"
        id_ = f"api:{VERSION}:{name}"
        found[f"{name}.json"] = _schema(id_, title, endpoint.summary, endpoint.reply)
    for command, (kind, summary) in COMMANDS.items():
        title = f"cuberouted {command} --json"
        found[f"{command}.json"] = _schema(f"command:{command}", title, summary, kind)
    return found


def _schema(id_: str, title: str, description: str, kind: Any) -> Json:
    return {
        "$schema": DIALECT,
        "$id": f"urn:cuberouted:{id_}",
        "title": title,
        "description": description,
        **_reference(kind, "#/$defs/{name}"),
        "$defs": _components([kind], "#/$defs/{name}"),
    }


def schema_name(endpoint: Endpoint) -> str:
    """As "status" for "/v1/status", "peers-check" for "/v1/peers/check"."""
    parts = [part for part in endpoint.path.split("/")[2:] if not part.startswith("{")]
    return "-".join(parts)


def undocumented(endpoints: Iterable[Endpoint]) -> list[str]:
    """What has no description yet, and where to write it."""
    missing = []
    kinds: list[Any] = [ErrorReply, *(kind for kind, _ in COMMANDS.values())]
    for endpoint in endpoints:
        what = f"Endpoint({endpoint.method} {endpoint.path})"
        if not endpoint.summary:
            missing.append(f"{what}: write its summary=")
        if endpoint.reply is None:
            missing.append(f"{what}: name the type of its reply=")
        else:
            kinds.append(endpoint.reply)
        if "{" in endpoint.path and not endpoint.argument:
            missing.append(f"{what}: describe what stands for the {{...}} in argument=")
        kinds += [kind for kind in (endpoint.body, endpoint.parameters) if kind is not None]
    for name, schema in _components(kinds, "{name}").items():
        missing += [
            f"{name}.{field}: {HOW}"
            for field, found in schema.get("properties", {}).items()
            if not found.get("description")
        ]
    return missing


def _operation(endpoint: Endpoint) -> Json:
    reply = _reference(endpoint.reply, "#/components/schemas/{name}")
    operation: Json = {
        "operationId": f"{endpoint.method.lower()}-{schema_name(endpoint)}",
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            "200": {
                "description": "One JSON object a line." if endpoint.stream else "OK",
                "content": {endpoint.content_type: {"schema": reply}},
            },
            **{
                str(status): _error(f"{PHRASES.get(status, HTTPStatus(status).phrase)}: {when}.")
                for status, when in endpoint.errors.items()
            },
            "default": _error("Any other error."),
        },
    }
    if endpoint.changes:
        operation["description"] = "Only for root and the group cuberouted-admin."
    if endpoint.body is not None:
        schema = _reference(endpoint.body, "#/components/schemas/{name}")
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _error(description: str) -> Json:
    schema = {"$ref": "#/components/schemas/ErrorReply"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _path_parameters(endpoint: Endpoint) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": endpoint.argument,
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[Json]:
    definitions = _components([endpoint.parameters], "#/{name}", replies=False)
    parameters = []
    for name, schema in definitions[endpoint.parameters.__name__].get("properties", {}).items():
        if "$ref" in schema:  # an enumeration
            schema = {**definitions[schema["$ref"].removeprefix("#/")], **schema}
            schema = {key: schema[key] for key in ("enum", "default", "description")}
        description = schema.pop("description", "")
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": schema,
            }
        )
    return parameters


def _reference(kind: Any, template: str) -> Json:
    ((schema,), _) = msgspec.json.schema_components([kind], ref_template=template)
    return schema


def _components(kinds: Iterable[Any], template: str, *, replies: bool = True) -> dict[str, Json]:
    """The schemas of all structs in *kinds*. In replies every field is there."""
    _, found = msgspec.json.schema_components(list(kinds), ref_template=template)
    for name, schema in found.items():
        if "description" in schema:
            schema["description"] = _plain(schema["description"])
        properties = schema.get("properties", {})
        if name in _EVENTS:  # as `events.encode` adds them
            properties["level"] = {"enum": [level.value for level in Level]}
            properties["text"] = {"type": "string"}
        for field, described in properties.items():
            # msgspec before 0.20 has null first in a union
            described.get("anyOf", []).sort(key=lambda kind: kind == {"type": "null"})
            text = EVENTS.get(field) if name in _EVENTS else REPORTS.get(name, {}).get(field)
            if text:
                described.setdefault("description", text)
        if replies and properties:
            schema["required"] = list(properties)
    return found


def _plain(docstring: str) -> str:
    """*docstring* as one paragraph a line, without marks of its markup."""
    paragraphs = re.split(r"\n\s*\n", docstring.strip())
    return "\n".join(re.sub(r"\s+", " ", p.strip()).replace("``", "`") for p in paragraphs)
