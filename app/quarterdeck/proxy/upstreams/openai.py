"""Backends with an OpenAI interface: llama.cpp, vLLM, LiteLLM, Ollama's own imitation, and any other server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from quarterdeck.proxy.dialects.base import HUB_EXTENSIONS, Asked, Fields
from quarterdeck.proxy.dialects.ollama_words import ROOT_WORDS
from quarterdeck.proxy.upstreams.base import Question, Reader, Upstream
from quarterdeck.proxy.upstreams.openai_answer import OpenAIReader, whole
from quarterdeck.proxy.upstreams.openai_fields import NO_EFFECT, changes_nothing
from quarterdeck.proxy.values import as_object, as_objects
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.requests import Operation

_PATHS = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.COMPLETION: "/v1/completions",
    Operation.EMBEDDINGS: "/v1/embeddings",
    Operation.RERANK: "/v1/rerank",
    Operation.SPEECH: "/v1/audio/speech",
    Operation.TRANSCRIPTION: "/v1/audio/transcriptions",
    Operation.IMAGES: "/v1/images/generations",
}
_SAMPLING = {
    name: name
    for name in ("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "mirostat", "mirostat_tau",
                 "mirostat_eta")
}  # fmt: skip
_LLAMA_CPP = {**_SAMPLING, "num_keep": "n_keep"}
_NAMES: Mapping[BackendKind, Mapping[str, str]] = {
    BackendKind.EMBEDDED: _LLAMA_CPP,
    BackendKind.LLAMA_SERVER: _LLAMA_CPP,
    BackendKind.VLLM: {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    # Nobody knows what they read. Most are llama.cpp within; clients of one that is not use the names it has.
    BackendKind.LITELLM: _SAMPLING,
    BackendKind.OPENAI_COMPATIBLE: _SAMPLING,
}
_LLAMA_CPP_KINDS = (BackendKind.EMBEDDED, BackendKind.LLAMA_SERVER)
_TEMPLATE_SWITCH = (*_LLAMA_CPP_KINDS, BackendKind.VLLM)

# All that Ollama's OpenAI interface reads; the rest it passes over without a word.
_OLLAMA_READS = frozenset(
    ("model", "messages", "stream", "stream_options", "max_tokens", "seed", "stop", "temperature", "frequency_penalty",
     "presence_penalty", "top_p", "response_format", "tools", "reasoning", "reasoning_effort", "logprobs",
     "top_logprobs", "prompt", "suffix", "input", "dimensions", "encoding_format")
)  # fmt: skip


class OpenAIUpstream(Upstream):
    """A request that needs no change keeps its very `fields`: a question with `fields is asked.fields` is unchanged."""

    name: ClassVar[str] = "openai"

    def ask(self, asked: Asked, kind: BackendKind, served_id: str) -> Question:
        fields = asked.fields
        dropped: list[str] = []
        if not HUB_EXTENSIONS.isdisjoint(fields):
            fields, dropped = _without_extensions(asked, kind)
        if kind in _LLAMA_CPP_KINDS:
            if "repetition_penalty" in fields:
                fields = {**fields, "repeat_penalty": fields["repetition_penalty"]}
            if isinstance(fields.get("tool_choice"), dict):
                fields, lost = _required_tool(fields)
                dropped += lost
        if kind is BackendKind.OLLAMA:
            dropped += [
                name
                for name, value in fields.items()
                if name not in _OLLAMA_READS and name not in NO_EFFECT and not changes_nothing(name, value)
            ]
        if served_id and served_id != fields["model"]:
            fields = {**fields, "model": served_id}
        return Question(_PATHS[asked.operation], fields, dropped)

    def answer(self, asked: Asked, body: Fields) -> Fields:
        return whole(asked, body)

    def reader(self, asked: Asked) -> Reader:
        return OpenAIReader()

    def needed_for(self, asked: Asked) -> Collection[str]:
        return ()


def _required_tool(fields: Fields) -> tuple[Fields, list[str]]:
    """The fields with the tool that must be called as the only one: llama.cpp passes a choice by name over."""
    named = as_object(fields["tool_choice"].get("function")).get("name")
    tools = [tool for tool in as_objects(fields.get("tools")) if as_object(tool.get("function")).get("name") == named]
    if named is None or not tools:
        return fields, ["tool_choice"]
    return {**fields, "tools": tools, "tool_choice": "required"}, []


def _without_extensions(asked: Asked, kind: BackendKind) -> tuple[Fields, list[str]]:
    """The fields with the backend's own names for what it can, and the names of what it cannot."""
    fields = asked.fields
    names = _NAMES.get(kind, {})
    kept: Fields = {}
    dropped: list[str] = []
    for name, value in fields.items():
        if name not in HUB_EXTENSIONS:
            kept[name] = value
        elif value is None:
            continue
        elif name in names:
            kept[names[name]] = value
        elif name == "ollama_options":
            # Below 1 it means “no limit”, which is what these backends do unasked.
            dropped += [_own_name(option) for option in value if option != "num_predict"]
        elif name != "think":
            dropped.append(name)
    think = fields.get("think")
    if think is not None and not (asked.operation is Operation.CHAT and _think(kept, think, kind)):
        dropped.append("think")
    return kept, dropped


def _own_name(option: str) -> str:
    return option if option in ROOT_WORDS else f"options.{option}"


def _think(fields: Fields, think: bool | str, kind: BackendKind) -> bool:
    """Says whether and how hard to think; false where the backend has no word for it."""
    if kind in _TEMPLATE_SWITCH:
        template = fields.get("chat_template_kwargs")
        level = {} if isinstance(think, bool) else {"reasoning_effort": think}
        wanted = {"enable_thinking": think is not False, **level}
        fields["chat_template_kwargs"] = {**wanted, **template} if isinstance(template, dict) else wanted
        return True
    if think is False and kind is not BackendKind.OLLAMA:
        return False
    effort = think if isinstance(think, str) else "medium" if think else "none"
    fields.setdefault("reasoning_effort", effort)
    return True
