"""Describes the routes that are not FastAPI's own (clients' API, health), so that /openapi.json is the whole."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from quarterdeck.control.security import OPEN_PATHS

_MODEL_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["model"], "properties": {"model": {"type": "string"}}}
        }
    },
}


def describe(app: FastAPI, routes: Sequence[Route]) -> None:
    """Let the schema of `app` also hold `routes`, with the docstrings of their endpoints as summaries."""
    own = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            paths = own()["paths"]
            for route in routes:
                paths.setdefault(route.path.replace(":path}", "}"), {}).update(_operations(route))
        return own()

    app.openapi = whole  # type: ignore[method-assign]


def _operations(route: Route) -> dict[str, Any]:
    operations = {}
    for method in sorted((route.methods or set()) - {"HEAD"}):
        operation: dict[str, Any] = {
            "tags": ["health" if route.path in OPEN_PATHS else "clients"],
            "summary": (inspect.getdoc(route.endpoint) or "").partition("\n")[0].rstrip("."),
            "responses": {"200": {"description": "The answer, or the error object of the OpenAI API."}},
        }
        if route.param_convertors:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in route.param_convertors
            ]
        if method == "POST":
            operation["requestBody"] = _MODEL_BODY
        operations[method.lower()] = operation
    return operations
