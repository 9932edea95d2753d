"""What some OpenAI-compatible servers offer beyond that: telling what is loaded, loading and unloading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quarterdeck.backends.remote import Remote, ServerRefused
from quarterdeck.errors import AppError, ConfigError

LM_STUDIO = "lm-studio"
TABBY = "tabbyapi"
MANAGED = (LM_STUDIO, TABBY)

_UNKNOWN_PATH = "Unexpected endpoint"
_NOT_THERE = (400, 404, 405, 503)


class ManagedServer:
    """A server whose models can be loaded and unloaded. Raises the errors of `Remote.json`."""

    def __init__(self, remote: Remote, product: str, url: str, headers: Mapping[str, str]) -> None:
        self._remote = remote
        self._product = product
        self._url = url
        self._headers = headers

    async def loaded(self) -> list[str]:
        """The ids of the models in memory."""
        if self._product == LM_STUDIO:
            answer = await self._json("GET", "/api/v0/models")
            entries = answer.get("data", []) if isinstance(answer, dict) else []
            return [entry["id"] for entry in entries if isinstance(entry, dict) and entry.get("state") == "loaded"]
        try:
            card = await self._json("GET", "/v1/model")
        except ServerRefused as refusal:
            if refusal.upstream_status in _NOT_THERE:
                return []
            raise
        return [card["id"]] if isinstance(card, dict) and card.get("id") else []

    async def load(self, model: str, context_length: int | None) -> None:
        """Load and wait. A server too old for it loads at the first request."""
        if self._product == LM_STUDIO:
            body: dict[str, Any] = {"model": model}
            if context_length is not None:
                body["config"] = {"context_length": context_length}
            await self._if_there("/api/v1/models/load", body)
        else:
            body = {"model_name": model}
            if context_length is not None:
                body["max_seq_len"] = context_length
            # It tells its progress as events until the model is loaded.
            await self._remote.drain(
                "POST", f"{self._url}/v1/model/load", who=TABBY, body=body, headers=self._admin()
            )  # fmt: skip

    async def unload(self, model: str) -> bool:
        """False where the server cannot be asked."""
        if self._product == LM_STUDIO:
            return await self._if_there("/api/v1/models/unload", {"instance_id": model})
        await self._remote.drain("POST", f"{self._url}/v1/model/unload", who=TABBY, body={}, headers=self._admin())
        return True

    def _admin(self) -> dict[str, str]:
        key = self._headers.get("Authorization", "").removeprefix("Bearer ")
        return {**self._headers, **({"x-admin-key": key} if key else {})}

    async def _if_there(self, path: str, body: Mapping[str, Any]) -> bool:
        """POST; False where the server knows no such path, to which LM Studio answers 200."""
        try:
            answer = await self._json("POST", path, body)
        except ServerRefused as refusal:
            if refusal.upstream_status in (404, 405):
                return False
            raise
        message = str(answer["error"]) if isinstance(answer, dict) and answer.get("error") else ""
        if message and not message.startswith(_UNKNOWN_PATH):
            raise AppError("server_refused", f"The server refused: {message}", status=502)
        return not message

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        timeout = None if body is not None else 5.0
        return await self._remote.json(
            method, self._url + path, who=self._product, body=body, headers=self._headers, timeout=timeout
        )  # fmt: skip


def no_options(title: str) -> ConfigError:
    return ConfigError(
        "bad_load_config",
        f"{title} decides itself how it loads its models.",
        "Remove the load_config, or change the configuration of that server.",
        option="context_length",
    )
