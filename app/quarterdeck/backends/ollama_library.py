"""The models that Ollama servers have: found, shown, fetched, made and deleted. Nothing here loads one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from quarterdeck.backends.ollama_api import OllamaApi, Shown, Tag
from quarterdeck.backends.ollama_options import is_variant
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, PullProgress
from quarterdeck.schemas.discovery import FoundModel

SHOWN_AT_ONCE = 4
LOOK_SECONDS = 3.0


class OllamaLibrary:
    """`url` is the address of a server; without it the main one is meant. Raises AppError as OllamaApi does."""

    def __init__(self, api: Callable[[str | None], OllamaApi], urls: Callable[[], Sequence[str]]) -> None:
        self._api = api
        self._urls = urls
        self._shown: dict[tuple[str, str, str | None], Shown] = {}

    async def found_models(self) -> list[FoundModel]:
        """All models of all servers that answer."""
        found = await asyncio.gather(*map(self.models_at, self._urls()))
        return [model for models in found if models is not None for model in models]

    async def models_at(self, url: str) -> list[FoundModel] | None:
        """The models of one server; None when it does not answer."""
        api = self._api(url)
        try:
            tags = [tag for tag in await api.tags(timeout=LOOK_SECONDS) if not is_variant(tag.name)]
        except AppError:
            return None
        gate = asyncio.Semaphore(SHOWN_AT_ONCE)
        shown = await asyncio.gather(*(self._show(api, tag, gate) for tag in tags))
        kept = {(api.url, tag.name, tag.digest) for tag in tags}
        self._shown = {key: value for key, value in self._shown.items() if key[0] != api.url or key in kept}
        return [_found(url, tag, facts) for tag, facts in zip(tags, shown, strict=True)]

    async def show(self, name: str, *, url: str | None = None) -> Shown:
        return await self._api(url).show(name)

    def pull(self, name: str, *, url: str | None = None) -> AsyncGenerator[PullProgress, None]:
        """Download a model; ending the iteration early (`aclose`) stops it."""
        return self._api(url).pull(name)

    async def create(self, new: str, *, source: str, parameters: Mapping[str, Any], url: str | None = None) -> None:
        """Make `new` from `source` with other parameters, such as {"num_ctx": 32768}."""
        await self._api(url).create(new, source=source, parameters=parameters)

    async def copy(self, source: str, new: str, *, url: str | None = None) -> None:
        await self._api(url).copy(source, new)

    async def delete(self, name: str, *, url: str | None = None) -> None:
        await self._api(url).delete(name)

    async def _show(self, api: OllamaApi, tag: Tag, gate: asyncio.Semaphore) -> Shown | None:
        """The facts of a model, asked for once for each content that it has had."""
        key = (api.url, tag.name, tag.digest)
        if key not in self._shown:
            async with gate:
                with contextlib.suppress(AppError):
                    self._shown[key] = await api.show(tag.name)
        return self._shown.get(key)


def _found(url: str, tag: Tag, facts: Shown | None) -> FoundModel:
    model = FoundModel(
        name=tag.name, source="ollama", backend=BackendKind.OLLAMA, url=url, size_bytes=tag.size_bytes,
        digest=tag.digest,
    )  # fmt: skip
    if facts is not None:
        model.format = facts.format
        model.architecture = facts.architecture
        model.parameter_count = facts.parameter_count
        model.quantization = facts.quantization
        model.context_length = facts.context_length
        model.family = facts.family
        model.has_chat_template = facts.has_chat_template
        model.capabilities = _capabilities(facts)
    return model


def _capabilities(facts: Shown) -> list[str]:
    names = {"embedding": "embeddings", "completion": "chat" if facts.has_chat_template else "completion"}
    return [names.get(each, each) for each in facts.capabilities]
