"""A door's table as an OpenAPI 3.1 document. Types come from the wire's classes, so it says what is checked and answered."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from ...wire import ErrorBody
from ..operations import Media, Operation
from ..requests import Parameter

SIMPLE: Final[Mapping[Any, Mapping[str, str]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
FAILURE: Final = {
    "description": "Refused or failed; `error.code` says how.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
}


def make_document(title: str, version: str, base: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document of a door that is mounted at `base`."""
    schemas: dict[str, Any] = {}
    schema_of(ErrorBody, schemas)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "Not on a unix socket."}},
        },
        "security": [{"token": []}, {}],
    }


def describe(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{operation.path.replace('/', '_').translate({123: None, 125: None})}",
        "parameters": [
            *(
                {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
                for part in operation.path.split("/")
                if part.startswith("{")
            ),
            *(describe_parameter(name, parameter) for name, parameter in operation.query.items()),
        ],
        "responses": {
            **{
                str(status): describe_answer(result, operation.media, schemas)
                for status, result in [(operation.status, operation.result), *operation.also.items()]
            },
            "default": FAILURE,
        },
    }
    if operation.body is not None:
        found["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": schema_of(operation.body, schemas)}},
        }
    return found


def describe_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.repeated else parameter.schema
    return {"name": name, "in": "query", "description": parameter.doc, "schema": schema}


def describe_answer(result: Any, media: Sequence[str], schemas: dict[str, Any]) -> dict[str, Any]:
    if isinstance(result, Media):
        media = [result.kind]
    elif result is None and list(media) == ["application/json"]:
        return {"description": "Done."}
    content: dict[str, Any] = {}
    for kind in media:
        schema = schema_of(result, schemas) if kind == "application/json" else {"type": "string"}
        content[kind] = {"schema": schema}
    return {"description": "Done.", "content": content}


def schema_of(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a type; classes go into `schemas` and are referred to. A schema is itself."""
    if isinstance(kind, Mapping):
        return dict(kind)
    if kind in SIMPLE:
        return dict(SIMPLE[kind])
    if attrs.has(kind):
        if kind.__name__ not in schemas:
            schemas[kind.__name__] = {}
            schemas[kind.__name__] = object_schema(kind, schemas)
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"type": "string", "enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one, schemas) for one in inner]}
    if origin is list:
        return {"type": "array", "items": schema_of(inner[0], schemas)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(inner[1], schemas)}
    raise TypeError(f"{kind!r} has no JSON Schema here")


def object_schema(kind: type[attrs.AttrsInstance], schemas: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    fields = attrs.fields(kind)
    required = [field.name for field in fields if field.default is attrs.NOTHING]
    return {
        "type": "object",
        "properties": {field.name: schema_of(hints[field.name], schemas) for field in fields},
        "additionalProperties": False,
    } | ({"required": required} if required else {})
