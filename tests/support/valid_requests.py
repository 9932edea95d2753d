"""Requests of clients that are all well: one or more of each route, with nearly everything that a route knows."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Er"
    "kJggg=="
)
_SCHEMA = {"type": "object", "properties": {"at": {"type": "string", "enum": ["x", "y"]}}, "required": ["at"]}
_TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": _SCHEMA}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
_BOUNDARY = "0f3b"


class Valid(NamedTuple):
    """A request; `fields` is its JSON body, `form` a body that is a form. `model` is put in where a body says MODEL."""

    method: str
    path: str
    fields: Any = None
    form: bytes = b""

    def __repr__(self) -> str:
        return f"<{self.method} {self.path}>"

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={_BOUNDARY}" if self.form else "application/json"


MODEL = "{model}"
"""Stands for the name of a model."""


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form; the first word of each part is what its Content-Disposition says after `form-data`."""
    fence = f"--{_BOUNDARY}".encode()
    texts = [
        b"%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (fence, head.encode(), value)
        for head, value in parts
    ]
    return b"".join(texts) + fence + b"--\r\n"


_SOUND = form(
    ('name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\0\0\0\0WAVE"),
    ('name="model"', MODEL.encode()),
    ('name="response_format"', b"json"),
)

_OPENAI_CHAT = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"},
                                     {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
        {"role": "user", "content": "And now?", "name": "somebody"},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 10,
    "temperature": 0.5,
    "stop": ["\n"],
    "tools": [_TOOL],
    "tool_choice": "auto",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA, "strict": True}},
    "logit_bias": {"5": -1},
    "seed": 1,
    "user": "somebody",
    "reasoning_effort": "low",
    "metadata": {"a": "b"},
}  # fmt: skip
_ANTHROPIC = {
    "model": MODEL,
    "max_tokens": 10,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE[22:]}},
            {"type": "document", "title": "a", "source": {"type": "text", "media_type": "text/plain", "data": "b"}},
            {"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "c"}]}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a cat"}],
             "is_error": False}]},
    ],
    "stream": True,
    "stop_sequences": ["\n"],
    "temperature": 0.5,
    "top_k": 3,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "look", "description": "Looks.", "input_schema": _SCHEMA},
              {"type": "web_search_20250305", "name": "web_search"}],
    "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}},
    "metadata": {"user_id": "somebody"},
}  # fmt: skip
_RESPONSES = {
    "model": MODEL,
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": PICTURE, "detail": "low"},
            {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "A cat."}]},
        {"role": "user", "content": "And now?"},
    ],
    "stream": True,
    "max_output_tokens": 10,
    "text": {"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA, "strict": True}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "tools": [{"type": "function", "name": "look", "parameters": _SCHEMA, "strict": True}, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
    "store": False,
    "metadata": {"a": "b"},
}  # fmt: skip
_OLLAMA_OPTIONS = {"temperature": 0.5, "num_ctx": 2048, "num_predict": 10, "stop": ["\n"], "numa": True, "top_k": 3}
_OLLAMA_CHAT = {
    "model": MODEL,
    "messages": [
        {"role": "user", "content": "What is it?", "images": [PICTURE[22:]]},
        {"role": "assistant", "content": "", "thinking": "hm",
         "tool_calls": [{"function": {"name": "look", "arguments": {"at": "x"}}}]},
        {"role": "tool", "tool_name": "look", "content": "a cat"},
    ],
    "tools": [_TOOL],
    "format": _SCHEMA,
    "options": _OLLAMA_OPTIONS,
    "think": "low",
    "stream": True,
    "keep_alive": "5m",
    "logprobs": True,
    "top_logprobs": 2,
}  # fmt: skip

ASKING = (
    Valid("POST", "/v1/chat/completions", _OPENAI_CHAT),
    Valid("POST", "/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}),
    Valid("POST", "/v1/completions", {"model": MODEL, "prompt": ["a", "b"], "stream": True, "suffix": "c", "n": 1}),
    Valid("POST", "/v1/embeddings", {"model": MODEL, "input": ["a", "b"], "encoding_format": "base64"}),
    Valid("POST", "/v1/rerank", {"model": MODEL, "query": "a", "documents": ["b", {"text": "c"}], "top_n": 1}),
    Valid("POST", "/v1/images/generations", {"model": MODEL, "prompt": "a", "n": 1, "size": "64x64"}),
    Valid("POST", "/v1/audio/speech", {"model": MODEL, "input": "a", "voice": "alloy", "response_format": "wav"}),
    Valid("POST", "/v1/audio/transcriptions", form=_SOUND),
    Valid("POST", "/v1/messages", _ANTHROPIC),
    Valid("POST", "/v1/messages/count_tokens", _ANTHROPIC),
    Valid("POST", "/v1/responses", _RESPONSES),
    Valid("POST", "/api/chat", _OLLAMA_CHAT),
    Valid("POST", "/api/generate", {
        "model": MODEL, "prompt": "a", "suffix": "", "system": "b", "template": "", "context": [1, 2], "raw": False,
        "images": [PICTURE[22:]], "format": "json", "options": _OLLAMA_OPTIONS, "stream": False, "keep_alive": 300,
        "think": True,
    }),
    Valid("POST", "/api/embed", {"model": MODEL, "input": ["a", "b"], "truncate": True, "dimensions": 2}),
    Valid("POST", "/api/embeddings", {"model": MODEL, "prompt": "a", "options": {"num_ctx": 64}}),
)  # fmt: skip
"""What is asked of models."""

OTHERS = (
    Valid("GET", "/v1/models"),
    Valid("GET", f"/v1/models/{MODEL}"),
    Valid("GET", "/v1/metrics"),
    Valid("GET", "/metrics"),
    Valid("GET", "/v1/health"),
    Valid("GET", "/version"),
    Valid("GET", "/api/tags"),
    Valid("GET", "/api/ps"),
    Valid("POST", "/api/show", {"model": MODEL, "verbose": True}),
    Valid("POST", "/api/pull", {"model": MODEL, "stream": True, "insecure": False}),
    Valid("POST", "/api/push", {"model": MODEL, "stream": False}),
    Valid("POST", "/api/create", {"model": "new", "from": MODEL, "parameters": {"num_ctx": 64}, "stream": False}),
    Valid("POST", "/api/copy", {"source": MODEL, "destination": "new"}),
    Valid("DELETE", "/api/delete", {"model": MODEL}),
    Valid("HEAD", "/api/blobs/sha256:" + "0" * 64),
    Valid("POST", "/api/blobs/sha256:" + "0" * 64, form=b"bytes"),
)
"""The other routes of clients."""

_POLICY = {"fold_system": True, "tools": "keep", "num_ctx": 64, "defaults": {"temperature": 0.1}, "override": ["top_p"]}
CONTROL = (
    Valid("POST", "/api/models", {
        "model_name": "new", "path": "/nowhere/a.gguf", "hf_path": "a/b", "backend": "embedded", "served_name": "n",
        "load_config": {"n_ctx": 64},
    }),
    Valid("PATCH", f"/api/models/{MODEL}/config", {
        "compatibility_status": "functional", "compatibility_notes": "n", "load_config": '{"n_ctx": 64}',
        "aliases": ["a"], "roles": ["b"], "capabilities": ["chat"], "group": "g", "pinned": False, "idle_timeout": 5,
        "deprecated": False, "client_policy": _POLICY,
    }),
    Valid("POST", "/api/orchestrate/load", {"model_name": MODEL, "force_load": True, "load_config": {"n_ctx": 64}}),
    Valid("POST", "/api/orchestrate/unload", {"model_name": MODEL}),
    Valid("POST", "/api/orchestrate/cancel", {"model_name": MODEL}),
    Valid("POST", "/api/estimate", {"model_name": MODEL, "load_config": "{}", "n_ctx": 64, "parallel": 2}),
    Valid("POST", "/api/estimate", {"path": "/nowhere/a.gguf", "backend": "embedded", "kv_type": "f16"}),
    Valid("POST", "/api/import", {"text": '{"a": {"path": "/nowhere"}}', "apply": False, "names": ["a"]}),
    Valid("POST", "/api/keys", {"name": "k", "models": [MODEL], "expires_at": "2999-01-01T00:00:00Z"}),
    Valid("PUT", "/api/routing", {
        "patterns": [{"pattern": "gpt-.*", "model": MODEL}],
        "balance": [{"name": "pool", "models": [{"model": MODEL}]}],
        "fallbacks": [{"model": MODEL, "error": [MODEL]}], "capabilities": [],
    }),
    Valid("POST", "/api/routing/test", {"model": MODEL, "needs": ["vision"], "down": [MODEL]}),
    Valid("POST", "/api/ollama/create", {"model": "new", "source": MODEL, "num_ctx": 64}),
    Valid("POST", "/api/ollama/delete", {"model": MODEL}),
    Valid("PATCH", "/api/settings", {"default_model": MODEL, "allowed_hosts": ["a"], "idle_timeout": 5}),
    Valid("GET", "/api/requests?limit=5&status=4xx"),
)  # fmt: skip
"""Of the control API: what can be said without asking anything outside."""


def body_of(valid: Valid, model: str) -> bytes:
    """The body with the name of a model in it."""
    text = valid.form or (b"" if valid.fields is None else json.dumps(valid.fields).encode())
    return text.replace(MODEL.encode(), model.encode())
