"""The model list of `/v1/models`, from what is known: it never asks a backend and never loads a model."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quarterdeck.errors import AppError
from quarterdeck.proxy.access.access import Principal
from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.dialects.openai import openai_error
from quarterdeck.proxy.json_answer import JsonAnswer
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.models import ModelView

SCHEMA_VERSION = 1


def model_item(view: ModelView) -> Fields:
    """A model as OpenAI's clients read it, and Anthropic's (`type`, `display_name`, `created_at`), and what we add.

    Sizes in bytes, lengths in tokens; null means not known.
    """
    return {
        "id": view.name,
        "object": "model",
        "created": int(view.created_at.timestamp()),
        "owned_by": "quarterdeck",
        "type": "model",
        "created_at": view.created_at.isoformat(),
        "display_name": view.name,
        "display_id": view.name,
        "logical_id": view.name,
        "compatibility_status": view.status,
        "loaded": view.loaded,
        "backend": view.backend,
        "context_length": view.context_length,
        "max_model_len": view.context_length,
        "capabilities": view.capabilities,
        "modalities": modalities(view),
        "format": view.format,
        "quantization": view.quantization,
        "size_bytes": view.size_bytes,
        "has_chat_template": view.has_chat_template,
        "schema_version": SCHEMA_VERSION,
    }


def modalities(view: ModelView) -> list[str]:
    """What the model reads."""
    read = {"vision": "image", "audio": "audio"}
    return ["text", *(word for capability, word in read.items() if capability in view.capabilities)]


class ModelList:
    """`GET /v1/models` and `GET /v1/models/{id}`. `principal` tells who asks and raises AppError 401."""

    def __init__(self, catalog: Catalog, *, principal: Callable[[Request], Principal]) -> None:
        self._catalog = catalog
        self._principal = principal

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self._list, methods=["GET"]),
            Route("/v1/models/{id:path}", self._one, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        """The models that can be asked for."""
        try:
            who = self._principal(request)
        except AppError as error:
            return _refused(error)
        views = [view for view in self._catalog.all() if view.hidden is None and who.may_use(view.name)]
        items = [model_item(view) for view in views]
        ends = (
            {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {"first_id": None, "last_id": None}
        )
        return JsonAnswer({"object": "list", "data": items, "has_more": False, **ends})

    async def _one(self, request: Request) -> Response:
        """One model."""
        try:
            who = self._principal(request)
            view, _ = self._catalog.resolve(request.path_params["id"])
            who.require(view.name)
        except AppError as error:
            return _refused(error)
        return JsonAnswer(model_item(view))


def _refused(error: AppError) -> Response:
    return JsonAnswer(openai_error(error), status_code=error.status)
