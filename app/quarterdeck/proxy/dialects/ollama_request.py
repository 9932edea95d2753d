"""Requests of Ollama's clients in the hub's words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.ollama_words import (
    ROOT_WORDS,
    SAME_OPTIONS,
    THINK_LEVELS,
    data_url,
    invalid,
    objects,
    stop_words,
    text,
    texts,
)
from quarterdeck.schemas.requests import Operation

_READ_ELSEWHERE = frozenset(
    ("model", "messages", "prompt", "input", "stream", "tools", "format", "think", "options", "keep_alive", "logprobs",
     "top_logprobs", "raw", "suffix", "images", "dimensions", *ROOT_WORDS)
)  # fmt: skip


def read(path: str, fields: Fields) -> Asked:
    """The request to one of Ollama's four paths that need a model. Raises AppError (400)."""
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model is required", "Name a model that GET /api/tags lists.")
    asked = _READERS[path](fields)
    asked.fields["model"] = model
    asked.kept.update(path=path, model=model, started=time.perf_counter_ns())
    asked.dropped.extend(name for name in fields if name not in _READ_ELSEWHERE and fields[name] is not None)
    return asked


def _chat(fields: Fields) -> Asked:
    hub: Fields = {"messages": _messages(fields.get("messages"))}
    if tools := objects(fields.get("tools"), "tools"):
        hub["tools"] = tools
    _log_probabilities(fields, hub)
    return _generation(Operation.CHAT, fields, hub)


def _generate(fields: Fields) -> Asked:
    """A prompt goes through the model's template like a chat of one turn; a raw one, or one with a suffix, does not."""
    prompt, suffix = text(fields.get("prompt"), "prompt"), text(fields.get("suffix"), "suffix")
    images = texts(fields.get("images"), "images")
    if fields.get("raw") or suffix:
        return _completion(fields, prompt, suffix, images)
    messages: list[Fields] = []
    if system := text(fields.get("system"), "system"):
        messages.append({"role": "system", "content": system})
    if prompt or images:
        messages.append({"role": "user", "content": _content(prompt, images)})
    hub: Fields = {"messages": messages}
    _log_probabilities(fields, hub)
    return _generation(Operation.CHAT, {**fields, "system": None}, hub)


def _completion(fields: Fields, prompt: str, suffix: str, images: list[str]) -> Asked:
    hub: Fields = {"prompt": prompt} | ({"suffix": suffix} if suffix else {})
    if fields.get("logprobs"):
        hub["logprobs"] = fields.get("top_logprobs") or 0
    asked = _generation(Operation.COMPLETION, fields, hub)
    if images:
        asked.dropped.append("images")
    return asked


def _generation(operation: Operation, fields: Fields, hub: Fields) -> Asked:
    """What chats and prompts have in common."""
    stream = fields.get("stream") is not False
    hub["stream"] = stream
    if stream:
        hub["stream_options"] = {"include_usage": True}
    if answer_format := _format(fields.get("format")):
        hub["response_format"] = answer_format
    think = fields.get("think")
    if think is not None:
        if not isinstance(think, bool) and think not in THINK_LEVELS:
            levels = ", ".join(f'"{level}"' for level in THINK_LEVELS)
            raise invalid(f"invalid think value: {json.dumps(think)} (must be {levels}, true, or false)")
        hub["think"] = think
    _common(fields, hub)
    return Asked(operation, hub, stream)


def _embed(fields: Fields) -> Asked:
    given = fields.get("input")
    hub: Fields = {"input": given if isinstance(given, str) else texts(given, "input")}
    if fields.get("dimensions"):
        hub["dimensions"] = fields["dimensions"]
    _common(fields, hub, sampled=False)
    return Asked(Operation.EMBEDDINGS, hub, stream=False)


def _embeddings(fields: Fields) -> Asked:
    hub: Fields = {"input": text(fields.get("prompt"), "prompt")}
    _common(fields, hub, sampled=False)
    return Asked(Operation.EMBEDDINGS, hub, stream=False)


_READERS: dict[str, Callable[[Fields], Asked]] = {
    "/api/chat": _chat,
    "/api/generate": _generate,
    "/api/embed": _embed,
    "/api/embeddings": _embeddings,
}
PATHS = tuple(_READERS)


def _common(fields: Fields, hub: Fields, *, sampled: bool = True) -> None:
    """The options, and the fields that only Ollama knows. Vectors are not `sampled`: their options are Ollama's own."""
    options = fields.get("options")
    if options is not None and not isinstance(options, dict):
        raise invalid("The field “options” must be an object.")
    rest = {name: value for name, value in (options or {}).items() if value is not None}
    hub |= {name: rest.pop(name) for name in (SAME_OPTIONS if sampled else ("num_ctx",)) if name in rest}
    if sampled:
        if stops := stop_words(rest.pop("stop", None)):
            hub["stop"] = stops
        limit = rest.get("num_predict")
        # Below 1 it means “no limit”, which the hub says by leaving it out; Ollama needs it against a model's own.
        if isinstance(limit, int | float) and limit > 0:
            hub["max_tokens"] = rest.pop("num_predict")
    # `truncate` is true by default, the others are nothing when empty.
    rest.update({name: fields[name] for name in ROOT_WORDS if _says(name, fields.get(name))})
    if rest:
        hub["ollama_options"] = rest
    if fields.get("keep_alive") is not None:
        hub["keep_alive"] = fields["keep_alive"]


def _says(name: str, value: object) -> bool:
    return value is not None and (value is not True if name == "truncate" else bool(value) or name == "shift")


def _log_probabilities(fields: Fields, hub: Fields) -> None:
    if fields.get("logprobs"):
        hub["logprobs"] = True
        if fields.get("top_logprobs"):
            hub["top_logprobs"] = fields["top_logprobs"]


def _format(value: object) -> Fields | None:
    if value is None or value == "":
        return None
    if value == "json":
        return {"type": "json_object"}
    if isinstance(value, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": value}}
    raise invalid(f'invalid format: {json.dumps(value)}; expected "json" or a valid JSON Schema object')


def _messages(value: object) -> list[Fields]:
    calls = _Calls()
    return [_message(each, calls) for each in objects(value, "messages")]


def _message(message: Fields, calls: _Calls) -> Fields:
    role = text(message.get("role"), "role")
    if not role:
        raise invalid("Every message needs a “role”.", "Use system, user, assistant or tool.")
    content = _content(text(message.get("content"), "content"), texts(message.get("images"), "images"))
    hub: Fields = {"role": role, "content": content}
    if thinking := text(message.get("thinking"), "thinking"):
        hub["reasoning_content"] = thinking
    if made := objects(message.get("tool_calls"), "tool_calls"):
        hub["tool_calls"] = [calls.made(each) for each in made]
    if role == "tool":
        name = text(message.get("tool_name") or message.get("name"), "tool_name")
        hub["tool_call_id"] = calls.answered(text(message.get("tool_call_id"), "tool_call_id"), name)
        if name:
            hub["name"] = name
    return hub


class _Calls:
    """Gives calls the ids that Ollama can do without, and finds the call that a result belongs to."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._count = 0

    def made(self, call: Fields) -> Fields:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise invalid("Every entry of “tool_calls” needs a “function” with a “name”.")
        # Nine letters and digits: Mistral's templates take no other ids.
        own = call.get("id")
        key = own if isinstance(own, str) and own else f"call{self._count:05d}"
        self._count += 1
        self._open.append((key, function["name"]))
        arguments = function.get("arguments")
        spoken = arguments if isinstance(arguments, str) else json.dumps({} if arguments is None else arguments)
        return {"id": key, "type": "function", "function": {"name": function["name"], "arguments": spoken}}

    def answered(self, key: str, name: str) -> str:
        """The id of the call: the one given, else of the oldest open call of that name, else of the oldest open."""
        found = next((each for each in self._open if key in each[:1] or (not key and each[1] == name)), None)
        if found is None and not key and not name and self._open:
            found = self._open[0]
        if found is not None:
            self._open.remove(found)
            return found[0]
        self._count += 1
        return key or f"call{self._count - 1:05d}"


def _content(words: str, images: list[str]) -> str | list[Fields]:
    if not images:
        return words
    parts: list[Fields] = [{"type": "text", "text": words}] if words else []
    return parts + [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in images]
