"""Makes /openapi.json the whole truth: the clients' routes, who may call, and which errors come in which form."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from quarterdeck.control import openapi_bodies as bodies
from quarterdeck.control.openapi_bodies import Schema
from quarterdeck.control.security import OPEN_PATHS, UPLOAD_PREFIX
from quarterdeck.proxy.ollama_routes import OLLAMA_PATHS

_SCHEMES: Schema = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key; for the control routes the local token or an admin key.",
    },
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same, in another header."},
}
_KEYS: list[Schema] = [{name: []} for name in _SCHEMES]
# While there is no API key, clients on this machine need none.
_KEYS_IF_ANY: list[Schema] = [*_KEYS, {}]

_FORM_ERRORS = (400, 403, 414, 431)
"""Of every request: one that makes no sense, comes from where it should not, or is too large before it begins."""
_CHANGE_ERRORS = (404, 409, 424)
"""Of what changes something: it is not there, something stands against it, or what it relies on failed."""
_ASK_ERRORS = (404, 409, 424, 429, 499)
_STREAMS = {"/api/events": "text/event-stream", "/api/ollama/pull": "application/x-ndjson"}
_UNUSED = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI, routes: Sequence[Route]) -> None:
    """Let the schema of `app` also hold `routes`, with the docstrings of their endpoints as summaries."""
    own = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = own()
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, method, path)
            for route in routes:
                document["paths"].setdefault(route.path.replace(":path}", "}"), {}).update(_operations(route))
            _components(document)
        return own()

    app.openapi = whole  # type: ignore[method-assign]


def _components(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas |= bodies.ERRORS
    components["securitySchemes"] = _SCHEMES


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    """Add to an operation of the control API what FastAPI does not know."""
    responses = operation["responses"]
    # Ours are 400, in our own form.
    responses.pop("422", None)
    more = _CHANGE_ERRORS if method != "get" else (404,) if "{" in path else ()
    responses |= _errors(path, more, body=method != "get")
    operation["security"] = _KEYS
    if path in _STREAMS:
        responses["200"] = {"description": "A stream.", "content": {_STREAMS[path]: {}}}


def _operations(route: Route) -> dict[str, Any]:
    path = route.path.replace(":path}", "}")
    operations = {}
    for method in sorted(route.methods or set()):
        if method == "HEAD" and "GET" in (route.methods or ()):
            continue
        is_open = path in OPEN_PATHS
        ok = (
            {"description": "The answer."}
            if method == "HEAD"
            else {"description": "The answer.", "content": bodies.content_of(path)}
        )
        operation: dict[str, Any] = {
            "tags": ["health" if is_open else "clients"],
            "summary": (inspect.getdoc(route.endpoint) or "").partition("\n")[0].rstrip("."),
            "security": [] if is_open else _KEYS_IF_ANY,
            "responses": {"200": ok, **_errors(path, () if is_open else _ASK_ERRORS, body=method != "GET")},
        }
        if route.param_convertors:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for name in route.param_convertors
            ]
        body = bodies.body_of(path) if method == "POST" else None
        if body is not None:
            operation["requestBody"] = body
        operations[method.lower()] = operation
    return operations


def _errors(path: str, more: Sequence[int], *, body: bool) -> dict[str, Any]:
    """The errors of an operation, each with the form that its callers read."""
    name = "OllamaError" if path in OLLAMA_PATHS or path.startswith(UPLOAD_PREFIX) else bodies.error_of(path)
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    unauthorized = () if path in OPEN_PATHS else (401,)
    statuses = sorted({*_FORM_ERRORS, *unauthorized, *more, *((413,) if body else ())})
    found = {str(status): {"description": _phrase(status), "content": content} for status in statuses}
    # What Quarterdeck relies on failed (502 to 507), it cannot do this (501), or it made a mistake (500).
    found["5XX"] = {"description": "It cannot be done now, or not here.", "content": content}
    return found


def _phrase(status: int) -> str:
    return "Client left" if status == 499 else HTTPStatus(status).phrase
