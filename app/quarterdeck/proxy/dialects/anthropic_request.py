"""Requests of Anthropic's Messages API in the hub's words."""

from __future__ import annotations

from typing import Any

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.checks import as_json, invalid, model_named, objects, text_of
from quarterdeck.proxy.dialects.conversation import (
    CARRIED_EXTRAS,
    USAGE_WANTED,
    Conversation,
    add_call,
    add_reasoning,
    add_text,
    drop,
    file_part,
    function_tool,
    image_part,
    text_part,
)
from quarterdeck.schemas.requests import Operation

_SAME_NAME = ("max_tokens", "temperature", "top_p", "top_k")
_CONVERTED = frozenset(
    ("model", "messages", "system", "stream", "stop_sequences", "tools", "tool_choice", "thinking", "output_config",
     "output_format", "metadata")
)  # fmt: skip
# Engines keep the beginnings of prompts by themselves: nothing is lost.
_NEEDLESS = frozenset(("cache_control",))
_LEVELS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read_request(fields: Fields) -> Asked:
    """The request in the hub's words. Raises AppError (400) for what is no request of the Messages API."""
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise invalid("stream", "must be true or false")
    asked = Asked(Operation.CHAT, {"model": model_named(fields)}, stream is True)
    asked.fields["messages"] = _messages(fields, asked)
    if stream:
        asked.fields |= {"stream": True, "stream_options": USAGE_WANTED}
    for name, value in fields.items():
        if value is None or name in _CONVERTED or name in _NEEDLESS:
            continue
        if name in _SAME_NAME or name in CARRIED_EXTRAS:
            asked.fields[name] = value
        else:
            drop(asked, name)
    _read_stop(fields, asked)
    _read_metadata(fields, asked)
    _read_tools(fields, asked)
    _read_thinking(fields, asked)
    return asked


def _messages(fields: Fields, asked: Asked) -> list[Fields]:
    if not isinstance(fields.get("messages"), list):
        raise invalid("messages", "must be a list")
    conversation = Conversation()
    if fields.get("system") is not None and (said := _texts(fields["system"], "system")):
        conversation.say("system", [text_part(said)])
    for index, message in enumerate(objects(fields["messages"], "messages")):
        where = f"messages[{index}]"
        role, content = message.get("role"), message.get("content")
        blocks = [text_part(content)] if isinstance(content, str) else objects(content, f"{where}.content")
        match role:
            case "user":
                _user(conversation, blocks, f"{where}.content", asked)
            case "assistant":
                _assistant(conversation, blocks, f"{where}.content", asked)
            case "system":
                conversation.say("system", [text_part(_texts(content, f"{where}.content"))])
            case _:
                raise invalid(f"{where}.role", "must be user, assistant or system")
    return conversation.messages()


def _user(conversation: Conversation, blocks: list[Fields], where: str, asked: Asked) -> None:
    parts: list[Fields] = []
    results = 0
    for index, block in enumerate(blocks):
        place = f"{where}[{index}]"
        if block.get("type") == "tool_result":
            content = block.get("content")
            inner = [text_part(content)] if isinstance(content, str) else objects(content, f"{place}.content")
            if block.get("is_error"):
                drop(asked, "tool_result.is_error")
            result = _parts(inner, f"{place}.content", asked)
            conversation.result(text_of(block, "tool_use_id", place), result)
            results += 1
        else:
            parts += _parts([block], place, asked)
    if parts or not results:
        conversation.say("user", parts)


def _parts(blocks: list[Fields], where: str, asked: Asked) -> list[Fields]:
    """What a person or a tool shows to the model."""
    parts: list[Fields] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                parts.append(text_part(text_of(block, "text", where)))
            case "image":
                parts.append(image_part(_source_url(block, where)))
            case "document":
                if block.get("citations"):
                    drop(asked, "document.citations")
                parts += _document(block, where, asked)
            case "search_result":
                title = f"{block.get('title', '')} ({block.get('source', '')})"
                parts.append(text_part(f"{title}\n{_texts(block.get('content'), f'{where}.content')}"))
            case "container_upload" | "tool_reference" as kind:
                drop(asked, f"messages.{kind}")
            case _:
                raise invalid(where, "is a block of a type that no engine here can read")
    return parts


def _document(block: Fields, where: str, asked: Asked) -> list[Fields]:
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    title = [text_part(block["title"])] if isinstance(block.get("title"), str) else []
    if isinstance(source, dict) and kind == "text":
        return [*title, text_part(text_of(source, "data", f"{where}.source"))]
    if isinstance(source, dict) and kind == "content":
        content = source.get("content")
        inner = [text_part(content)] if isinstance(content, str) else objects(content, f"{where}.source.content")
        return title + _parts(inner, f"{where}.source.content", asked)
    url = _source_url(block, where)
    if not url.startswith("data:"):
        raise invalid(f"{where}.source", "must hold the document itself; addresses of documents are not opened here")
    return [file_part(block.get("title"), url)]


def _source_url(block: Fields, where: str) -> str:
    """The address of an image or a document; one that holds the bytes where they are given."""
    source = block.get("source")
    if not isinstance(source, dict) or source.get("type") not in ("base64", "url"):
        raise invalid(f"{where}.source", "must be of the type base64 or url; there is no file store here")
    if source["type"] == "url":
        return text_of(source, "url", f"{where}.source")
    media = text_of(source, "media_type", f"{where}.source")
    return f"data:{media};base64,{text_of(source, 'data', f'{where}.source')}"


def _assistant(conversation: Conversation, blocks: list[Fields], where: str, asked: Asked) -> None:
    answer = conversation.answer()
    for index, block in enumerate(blocks):
        place = f"{where}[{index}]"
        match block.get("type"):
            case "text":
                add_text(answer, text_of(block, "text", place))
            case "thinking":
                add_reasoning(answer, text_of(block, "thinking", place))
            case "tool_use":
                arguments = as_json(block.get("input") or {}, f"{place}.input")
                add_call(answer, text_of(block, "id", place), text_of(block, "name", place), arguments)
            case str(kind):
                drop(asked, f"messages.{kind}")
            case _:
                raise invalid(f"{place}.type", "must be a text")


def _read_stop(fields: Fields, asked: Asked) -> None:
    stop = fields.get("stop_sequences")
    if stop is None:
        return
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise invalid("stop_sequences", "must be a list of texts")
    if stop:
        asked.fields["stop"] = stop


def _read_metadata(fields: Fields, asked: Asked) -> None:
    metadata = fields.get("metadata")
    if isinstance(metadata, dict):
        if isinstance(metadata.get("user_id"), str):
            asked.fields["user"] = metadata["user_id"]
        for name in metadata:
            if name != "user_id":
                drop(asked, f"metadata.{name}")


def _read_tools(fields: Fields, asked: Asked) -> None:
    tools: list[Fields] = []
    for index, tool in enumerate(objects(fields.get("tools"), "tools")):
        if tool.get("type") not in (None, "custom"):
            # What Anthropic's own servers or models bring along.
            drop(asked, f"tools.{tool['type']}")
            continue
        if not isinstance(tool.get("input_schema"), dict):
            raise invalid(f"tools[{index}].input_schema", "must be an object")
        tools.append(function_tool(text_of(tool, "name", f"tools[{index}]"), tool, tool["input_schema"]))
    if tools:
        asked.fields["tools"] = tools
    if fields.get("tool_choice") is not None:
        _read_choice(fields["tool_choice"], [tool["function"]["name"] for tool in tools], asked)


def _read_choice(choice: Any, names: list[str], asked: Asked) -> None:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(kind, str) or (kind != "tool" and kind not in _CHOICES):
        raise invalid("tool_choice", "must be an object of the type auto, any, tool or none")
    if kind == "tool" or (kind == "any" and not names):
        name = text_of(choice, "name", "tool_choice") if kind == "tool" else ""
        if name not in names:
            raise invalid("tool_choice", "asks for a tool that does not run here; only tools of the client do")
        asked.fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif names:
        asked.fields["tool_choice"] = _CHOICES[kind]
    if names and choice.get("disable_parallel_tool_use") is True:
        asked.fields["parallel_tool_calls"] = False


def _read_thinking(fields: Fields, asked: Asked) -> None:
    thinking, output = fields.get("thinking"), fields.get("output_config")
    thinking = thinking if isinstance(thinking, dict) else {}
    output = output if isinstance(output, dict) else {}
    kind = thinking.get("type")
    level = _LEVELS.get(str(output.get("effort")))
    if kind == "enabled":
        asked.fields["think"] = level or True
        if "budget_tokens" in thinking:
            drop(asked, "thinking.budget_tokens")
    elif kind == "disabled":
        asked.fields["think"] = False
    elif kind == "adaptive":
        # The model decides, as it does where nothing is said; a wish for an effort is passed on.
        if level:
            asked.fields["think"] = level
    elif kind is not None:
        drop(asked, f"thinking.{kind}")
    if output.get("effort") is not None and kind not in ("enabled", "adaptive"):
        drop(asked, "output_config.effort")
    if thinking.get("display") == "omitted":
        asked.kept["hide_thinking"] = True
    _read_format(output.get("format") or fields.get("output_format"), asked)
    for name in output:
        if name not in ("effort", "format"):
            drop(asked, f"output_config.{name}")


def _read_format(form: Any, asked: Asked) -> None:
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise invalid("output_config.format", "must be of the type json_schema, with a schema")
    schema = {"name": "answer", "schema": form["schema"], "strict": True}
    asked.fields["response_format"] = {"type": "json_schema", "json_schema": schema}


def _texts(content: Any, where: str) -> str:
    """A text, or the texts of a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = enumerate(objects(content, where))
    return "\n\n".join(text_of(block, "text", f"{where}[{index}]") for index, block in blocks)
