"""What clients send and get, as JSON schemas: the fields that Quarterdeck reads. All others go to the backend."""

from __future__ import annotations

from typing import Any

from quarterdeck.proxy.media import BLANKS, LONGEST_NAME
from quarterdeck.proxy.routes import DIALECTS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}
_BOOLEAN: Schema = {"type": ["boolean", "null"]}
_MODEL: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "description": "As GET /v1/models lists.",
}


def _object(required: str, **properties: Schema) -> Schema:
    """An object that may have further fields; the names of the required ones are separated by spaces."""
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _perhaps(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


_FUNCTION = _object("name", name=TEXT, parameters=OBJECT)
_CALL = _object("function", id=TEXT, type=_one_of("function"), function=_object("name", name=TEXT, arguments=TEXT))
_TOOLS = _perhaps(_list(_object("type function", type=_one_of("function"), function=_FUNCTION)))
_TEXT_PART = _object("type text", type=_one_of("text"), text=TEXT)
_PICTURE_PART = _object("type image_url", type=_one_of("image_url"), image_url=_object("url", url=TEXT))
_OPENAI_MESSAGE = _object(
    "role",
    role=TEXT,
    content={"anyOf": [TEXT, {"type": "null"}, _list({"anyOf": [_TEXT_PART, _PICTURE_PART]})]},
    tool_calls=_perhaps(_list(_CALL)),
)
_TEXTS = {"anyOf": [TEXT, _list(TEXT)]}

_ANTHROPIC_BLOCKS = _list(_TEXT_PART)
_ANTHROPIC_MESSAGE = _object(
    "role",
    role=_one_of("user", "assistant", "system"),
    content={"anyOf": [TEXT, {"type": "null"}, _ANTHROPIC_BLOCKS]},
)
_ANTHROPIC_TOOL = _object("name input_schema", name=TEXT, input_schema=OBJECT)
_ANTHROPIC = _object(
    "model messages",
    model=_MODEL,
    messages=_list(_ANTHROPIC_MESSAGE),
    system={"anyOf": [TEXT, {"type": "null"}, _list(_object("text", text=TEXT))]},
    stream=_BOOLEAN,
    stop_sequences=_perhaps(_list(TEXT)),
    tools=_perhaps(_list(_ANTHROPIC_TOOL)),
)

_ITEM = _object(
    "role content",
    role=_one_of("user", "assistant", "system", "developer"),
    content={"anyOf": [TEXT, _list(_object("type text", type=_one_of("input_text"), text=TEXT))]},
)
_RESPONSES = _object(
    "model input",
    model=_MODEL,
    input={"anyOf": [TEXT, _list(_ITEM)]},
    instructions=_perhaps(TEXT),
    stream=_BOOLEAN,
    tools=_perhaps(_list(_object("type name", type=_one_of("function"), name=TEXT, parameters=OBJECT))),
)

_OLLAMA_MESSAGE = _object(
    "role", role={"type": "string", "minLength": 1}, content=_perhaps(TEXT), images=_perhaps(_list(TEXT))
)
_OLLAMA = {"model": _MODEL, "options": _perhaps(OBJECT)}
_FORM_MODEL = {**_MODEL, "pattern": f"[^{BLANKS}]"}
_FORM = _object("model file", model=_FORM_MODEL, file={"type": "string", "format": "binary"})

_BODIES: dict[str, Schema] = {
    "/v1/chat/completions": _object(
        "model messages", model=_MODEL, messages=_list(_OPENAI_MESSAGE), stream=_BOOLEAN, tools=_TOOLS
    ),
    "/v1/completions": _object("model prompt", model=_MODEL, prompt=_TEXTS, stream=_BOOLEAN),
    "/v1/embeddings": _object("model input", model=_MODEL, input=_TEXTS),
    **dict.fromkeys(
        ("/v1/rerank", "/v1/reranking", "/rerank"),
        _object("model query documents", model=_MODEL, query=TEXT, documents=_list(TEXT)),
    ),
    "/v1/images/generations": _object("model prompt", model=_MODEL, prompt=TEXT),
    "/v1/audio/speech": _object("model input", model=_MODEL, input=TEXT, voice=TEXT),
    "/v1/audio/transcriptions": _FORM,
    "/v1/audio/translations": _FORM,
    "/v1/messages": _ANTHROPIC,
    "/v1/messages/count_tokens": _ANTHROPIC,
    "/v1/responses": _RESPONSES,
    "/api/chat": _object("model", **_OLLAMA, messages=_perhaps(_list(_OLLAMA_MESSAGE)), tools=_perhaps(_list(OBJECT))),
    "/api/generate": _object(
        "model", **_OLLAMA, prompt=_perhaps(TEXT), system=_perhaps(TEXT), images=_perhaps(_list(TEXT))
    ),
    "/api/embed": _object("model", **_OLLAMA, input=_perhaps(_TEXTS)),
    "/api/embeddings": _object("model", **_OLLAMA, prompt=_perhaps(TEXT)),
    "/api/show": _object("model", model={"type": "string", "minLength": 1}),
}

_ANSWERS: dict[str, Schema] = {
    "/v1/chat/completions": _object("object choices", object=TEXT, choices=_list(OBJECT), usage=_perhaps(OBJECT)),
    "/v1/completions": _object("object choices", object=TEXT, choices=_list(OBJECT), usage=_perhaps(OBJECT)),
    "/v1/embeddings": _object("data", data=_list(OBJECT)),
    "/v1/messages": _object(
        "type role content", type=_one_of("message"), role=TEXT, content=_list(OBJECT), usage=OBJECT
    ),
    "/v1/messages/count_tokens": _object("input_tokens", input_tokens={"type": "integer"}),
    "/v1/responses": _object("object output status", object=_one_of("response"), output=_list(OBJECT), status=TEXT),
    "/v1/models": _object(
        "object data", object=_one_of("list"), data=_list(_object("id object", id=TEXT, object=TEXT))
    ),
    "/v1/models/{id}": _object("id object", id=TEXT, object=_one_of("model")),
    "/v1/metrics": _object("count", count={"type": "integer"}),
    "/api/chat": _object("model message done", model=TEXT, message=OBJECT, done={"type": "boolean"}),
    "/api/generate": _object("model response done", model=TEXT, response=TEXT, done={"type": "boolean"}),
    "/api/embed": _object("embeddings", embeddings=_list(_list({"type": "number"}))),
    "/api/embeddings": _object("embedding", embedding=_list({"type": "number"})),
    "/api/tags": _object("models", models=_list(_object("name model", name=TEXT, model=TEXT))),
    "/api/ps": _object("models", models=_list(_object("name model", name=TEXT, model=TEXT))),
    "/api/version": _object("version", version=TEXT),
    "/version": _object("version", version=TEXT),
    **dict.fromkeys(
        ("/health", "/v1/health"), _object("status uptime_seconds", status=TEXT, uptime_seconds={"type": "number"})
    ),
}
_EVENTS = "text/event-stream"
_LINES = "application/x-ndjson"
_STREAMED = {
    **dict.fromkeys(("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"), _EVENTS),
    **dict.fromkeys(("/api/chat", "/api/generate"), _LINES),
}
_OTHER_CONTENT = {
    "/": ("text/plain",),
    "/metrics": ("text/plain", "application/openmetrics-text"),
    "/v1/audio/speech": ("audio/*", "application/octet-stream"),
    **dict.fromkeys(
        ("/v1/audio/transcriptions", "/v1/audio/translations"), ("application/json", "text/plain", _EVENTS)
    ),
    **dict.fromkeys(("/api/pull", "/api/push", "/api/create"), ("application/json", _LINES)),
}

_MESSAGE = {"message": TEXT, "type": TEXT, "code": _perhaps(TEXT)}
ERRORS: dict[str, Schema] = {
    "Error": _object("detail code hint", detail=TEXT, code=TEXT, hint=TEXT),
    "OpenAIError": _object("error", error=_object("message type", **_MESSAGE)),
    "AnthropicError": _object(
        "type error", type=_one_of("error"), error=_object("message type", message=TEXT, type=TEXT)
    ),
    "OllamaError": _object("error", error=TEXT),
}
"""The forms of errors: ours, and those of the clients' products."""
_OF_DIALECT = {
    "openai": "OpenAIError",
    "anthropic": "AnthropicError",
    "responses": "OpenAIError",
    "ollama": "OllamaError",
}


def body_of(path: str) -> Schema | None:
    """What is sent to a path of the clients, as the `requestBody` of OpenAPI; None where anything goes."""
    schema = _BODIES.get(path)
    if schema is None:
        return None
    kind = "multipart/form-data" if schema is _FORM else "application/json"
    return {"required": True, "content": {kind: {"schema": schema}}}


def content_of(path: str) -> Schema:
    """What a path of the clients answers, as the `content` of OpenAPI."""
    if path in _OTHER_CONTENT:
        return {kind: {} for kind in _OTHER_CONTENT[path]}
    content: Schema = {"application/json": {"schema": _ANSWERS.get(path, OBJECT)}}
    if path in _STREAMED:
        content[_STREAMED[path]] = {}
    return content


def error_of(path: str) -> str:
    """The name in ERRORS of the form that errors of a path have."""
    if path in DIALECTS:
        return _OF_DIALECT[DIALECTS[path].name]
    if path.startswith("/v1/messages/"):
        return "AnthropicError"
    return "OpenAIError" if path.startswith("/v1/") else "Error"
