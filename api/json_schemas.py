"""Schemas of bodies that a route reads itself, for the OpenAPI document: whole, without references to anything."""

from typing import Any

from pydantic import BaseModel


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema with what it refers to in place; models that hold themselves are none of ours."""
    schema = model.model_json_schema()
    parts: dict[str, Any] = schema.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(one) for one in node]
        if not isinstance(node, dict):
            return node
        beside = {name: whole(value) for name, value in node.items() if name != "$ref"}
        if "$ref" in node:
            return {**whole(parts[node["$ref"].rpartition("/")[2]]), **beside}
        return beside

    found: dict[str, Any] = whole(schema)
    return found
