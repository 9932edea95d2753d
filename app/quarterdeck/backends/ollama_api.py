"""The part of Ollama's HTTP interface that we use, typed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from quarterdeck.backends.remote import USUAL_SECONDS, Remote, ServerRefused
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import PullProgress

WHO = "Ollama"
FOR_EVER = -1
NOT_FOUND = 404

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_COUNT = re.compile(r"([\d.]+)\s*([KMBT]?)", re.IGNORECASE)
_WEIGHTS = re.compile(r"^FROM\s+(\S*sha256[-:][0-9a-f]{64})\s*$", re.MULTILINE)
_PLAIN_TEMPLATE = "{{ .Prompt }}"


@dataclass(frozen=True, slots=True)
class Tag:
    """A model that a server has. Size in bytes."""

    name: str
    size_bytes: int | None
    digest: str | None


@dataclass(frozen=True, slots=True)
class Running:
    """A model that a server holds in memory; sizes in bytes."""

    name: str
    size_bytes: int | None
    vram_bytes: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server tells about one model. `weights` is the blob that its runner is started with."""

    capabilities: tuple[str, ...]
    architecture: str | None
    context_length: int | None
    parameter_count: int | None
    quantization: str | None
    family: str | None
    format: str | None
    template: str
    parameters: str
    modelfile: str

    @property
    def only_embeds(self) -> bool:
        return "embedding" in self.capabilities and "completion" not in self.capabilities

    @property
    def has_chat_template(self) -> bool:
        return self.template.strip() not in ("", _PLAIN_TEMPLATE)

    @property
    def weights(self) -> str | None:
        match = _WEIGHTS.search(self.modelfile)
        return match.group(1) if match else None


def full_tag(name: str) -> str:
    """A name with its tag: `:latest` where none is given."""
    name = name.strip()
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


class OllamaApi:
    """One Ollama server. Every method raises the errors of `remote.Remote`; an unknown model AppError `model_missing`.

    Names of models may lack their tag.
    """

    def __init__(self, remote: Remote, url: str) -> None:
        self.url = url
        self._remote = remote

    async def version(self, *, timeout: float = USUAL_SECONDS) -> str:
        answer = _object(await self._get("/api/version", timeout))
        version = answer.get("version")
        if not isinstance(version, str):
            raise AppError("bad_answer", f"What answers at {self.url} is not Ollama.", "Check the address.", status=502)
        return version

    async def tags(self, *, timeout: float = USUAL_SECONDS) -> list[Tag]:
        found = _object(await self._get("/api/tags", timeout)).get("models")
        return [
            Tag(full_tag(each["name"]), _whole(each.get("size")), each.get("digest"))
            for each in _objects(found, "name")
        ]

    async def ps(self, *, timeout: float = USUAL_SECONDS) -> list[Running]:
        found = _object(await self._get("/api/ps", timeout)).get("models")
        return [
            Running(full_tag(each["name"]), _whole(each.get("size")), _whole(each.get("size_vram")))
            for each in _objects(found, "name")
        ]

    async def show(self, name: str) -> Shown:
        answer = _object(await self._post("/api/show", name, {}))
        details, facts = _object(answer.get("details")), _object(answer.get("model_info"))
        architecture = facts.get("general.architecture")
        return Shown(
            capabilities=tuple(map(str, answer.get("capabilities") or ())),
            architecture=architecture,
            context_length=_whole(facts.get(f"{architecture}.context_length")),
            parameter_count=_whole(facts.get("general.parameter_count")) or count(details.get("parameter_size")),
            quantization=details.get("quantization_level") or None,
            family=details.get("family") or None,
            format=details.get("format") or None,
            template=str(answer.get("template") or ""),
            parameters=str(answer.get("parameters") or ""),
            modelfile=str(answer.get("modelfile") or ""),
        )

    async def load(self, name: str, *, only_embeds: bool) -> None:
        """Load and keep until it is unloaded; returns when it answers. Without a limit of time."""
        if only_embeds:
            await self._post("/api/embed", name, {"input": [], "keep_alive": FOR_EVER}, timeout=None)
        else:
            await self._post("/api/generate", name, {"keep_alive": FOR_EVER, "stream": False}, timeout=None)

    async def unload(self, name: str) -> None:
        """Ask to give up a model. What it was loaded for is not known, so every way is tried."""
        ways: tuple[tuple[str, dict[str, Any]], ...] = (
            ("/api/generate", {"stream": False}),
            ("/api/chat", {"messages": [], "stream": False}),
            ("/api/embed", {"input": []}),
        )
        first: ServerRefused | None = None
        for path, body in ways:
            try:
                await self._post(path, name, {**body, "keep_alive": 0})
            except ServerRefused as refusal:
                first = first or refusal
            else:
                return
        assert first is not None
        raise first

    async def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        """Download a model. Ending the iteration early stops it; what was fetched is kept for the next try."""
        body = {"model": full_tag(name), "stream": True}
        async with contextlib.aclosing(self._remote.lines("POST", f"{self.url}/api/pull", who=WHO, body=body)) as steps:
            async for step in steps:
                done, whole = _whole(step.get("completed")), _whole(step.get("total"))
                stage = str(step.get("status", ""))
                yield PullProgress(stage=stage, done_bytes=done, total_bytes=whole, finished=stage == "success")

    async def create(self, new: str, *, source: str, parameters: Mapping[str, Any]) -> None:
        """Make `new` from the model `source` with other parameters; nothing is copied."""
        # Ollama would make an empty model from an unknown one.
        await self.show(source)
        body = {"from": full_tag(source), "parameters": dict(parameters), "stream": False}
        await self._post("/api/create", new, body)

    async def copy(self, source: str, new: str) -> None:
        body = {"source": full_tag(source), "destination": full_tag(new)}
        with _Missing(source):
            await self._remote.json("POST", f"{self.url}/api/copy", who=WHO, body=body)

    async def delete(self, name: str) -> None:
        with _Missing(name):
            await self._remote.json("DELETE", f"{self.url}/api/delete", who=WHO, body={"model": full_tag(name)})

    async def _get(self, path: str, timeout: float) -> Any:
        return await self._remote.json("GET", self.url + path, who=WHO, timeout=timeout)

    async def _post(
        self, path: str, name: str, body: Mapping[str, Any], *, timeout: float | None = USUAL_SECONDS
    ) -> Any:
        with _Missing(name):
            return await self._remote.json(
                "POST", self.url + path, who=WHO, body={"model": full_tag(name), **body}, timeout=timeout
            )  # fmt: skip


class _Missing:
    """Turns “not found” into the error that says how to get the model."""

    def __init__(self, name: str) -> None:
        self._name = full_tag(name)

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ServerRefused) and error.upstream_status == NOT_FOUND:
            raise AppError(
                "model_missing",
                f"Ollama has no model “{self._name}”.",
                f"Get it with: ollama pull {self._name}",
                status=404,
            ) from None


def count(text: object) -> int | None:
    """The number of parameters in Ollama's short form such as 134.52M; None for anything else."""
    match = _COUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    try:
        return round(float(match.group(1)) * _UNITS[match.group(2).upper()]) if match else None
    except ValueError:
        return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object, key: str) -> list[dict[str, Any]]:
    """The objects of a list that have a text under `key`."""
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict) and isinstance(item.get(key), str) and item[key]]


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
