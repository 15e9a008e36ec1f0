"""Holds JSON against the schemas of docs/schemas."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from tests.openapi.__main__ import DOCS


def validate(name: str, text: str) -> Any:
    """The value of *text*, the JSON that docs/schemas/*name*.json describes.

    Raises:
      jsonschema.ValidationError: it lacks a field, has another one, or one of another type.
    """
    value = json.loads(text)
    schema = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(strict(schema)).validate(value)
    return value


def strict(schema: Any) -> Any:
    """*schema*, with no other fields than those that it has: every one has to be documented."""
    if isinstance(schema, dict):
        found = {key: strict(value) for key, value in schema.items()}
        if "properties" in schema and "additionalProperties" not in schema:
            found["additionalProperties"] = False
        return found
    return [strict(value) for value in schema] if isinstance(schema, list) else schema
