"""Requests of OpenAI's Responses API in the hub's words."""

from __future__ import annotations

from typing import Any

from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.proxy.dialects.checks import invalid, model_named, objects, text_of
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

_SAME_NAME = frozenset(("temperature", "top_p", "parallel_tool_calls", "user", "stop"))
_CONVERTED = frozenset(
    ("model", "input", "instructions", "stream", "max_output_tokens", "text", "reasoning", "tools", "tool_choice",
     "include", "top_logprobs")
)  # fmt: skip
# What changes nothing about the answer, or asks for what happens anyway.
_NEEDLESS = frozenset(("metadata", "stream_options", "prompt_cache_key", "prompt_cache_options"))
_AS_IT_IS = {"store": False, "background": False, "truncation": "disabled", "service_tier": "auto"}
_OF_A_STORE = ("previous_response_id", "conversation", "prompt")
_LOGPROBS = "message.output_text.logprobs"
_LEVELS: dict[str, bool | str] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high",
}  # fmt: skip


def read_request(fields: Fields) -> Asked:
    """The request in the hub's words. Raises AppError (400) for what is no request, or needs a store of answers."""
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise invalid("stream", "must be true or false")
    for name in _OF_A_STORE:
        if fields.get(name) is not None:
            raise invalid(name, "cannot be used: no answers are stored here; send the whole conversation as “input”")
    if fields.get("background"):
        raise invalid("background", "cannot be used: no answers are stored here; ask for a stream instead")
    asked = Asked(Operation.CHAT, {"model": model_named(fields)}, stream is True, kept={"request": fields})
    asked.fields["messages"] = _messages(fields, asked)
    if stream:
        asked.fields |= {"stream": True, "stream_options": USAGE_WANTED}
    if fields.get("max_output_tokens") is not None:
        asked.fields["max_tokens"] = fields["max_output_tokens"]
    for name, value in fields.items():
        if value is None or name in _CONVERTED or name in _NEEDLESS or _AS_IT_IS.get(name) == value:
            continue
        if name in _SAME_NAME or name in CARRIED_EXTRAS:
            asked.fields[name] = value
        else:
            drop(asked, name)
    _read_text(fields.get("text"), asked)
    _read_reasoning(fields.get("reasoning"), asked)
    _read_include(fields, asked)
    _read_tools(fields, asked)
    return asked


def _messages(fields: Fields, asked: Asked) -> list[Fields]:
    conversation = Conversation()
    if isinstance(fields.get("instructions"), str):
        conversation.say("system", [text_part(fields["instructions"])])
    given = fields.get("input")
    if isinstance(given, str):
        conversation.say("user", [text_part(given)])
    elif not isinstance(given, list):
        raise invalid("input", "must be a text or a list")
    else:
        for index, item in enumerate(objects(given, "input")):
            _item(conversation, item, f"input[{index}]", asked)
    return conversation.messages()


def _item(conversation: Conversation, item: Fields, where: str, asked: Asked) -> None:
    match item.get("type", "message"):
        case "message":
            _message(conversation, item, where)
        case "reasoning":
            _reasoning(conversation, item, where, asked)
        case "function_call":
            answer = conversation.last_answer() or conversation.answer()
            call_id = text_of(item, "call_id", where)
            add_call(answer, call_id, text_of(item, "name", where), text_of(item, "arguments", where))
        case "function_call_output":
            conversation.result(text_of(item, "call_id", where), _parts(item.get("output"), f"{where}.output"))
        case "item_reference":
            raise invalid(where, "refers to a stored item: no answers are stored here; send the item itself")
        case str(kind):
            drop(asked, f"input.{kind}")
        case _:
            raise invalid(f"{where}.type", "must be a text")


def _message(conversation: Conversation, item: Fields, where: str) -> None:
    parts = _parts(item.get("content"), f"{where}.content")
    match item.get("role"):
        case "user":
            conversation.say("user", parts)
        case "system" | "developer":
            # Chat templates of open models know no developer.
            conversation.say("system", parts)
        case "assistant":
            answer = conversation.last_answer()
            if answer is None or answer["content"] is not None or "tool_calls" in answer:
                answer = conversation.answer()
            add_text(answer, "".join(part["text"] for part in parts if part["type"] == "text"))
        case _:
            raise invalid(f"{where}.role", "must be user, assistant, system or developer")


def _reasoning(conversation: Conversation, item: Fields, where: str, asked: Asked) -> None:
    name = "content" if item.get("content") else "summary"
    thoughts = [text_of(part, "text", f"{where}.{name}") for part in objects(item.get(name), f"{where}.{name}")]
    if not thoughts:
        drop(asked, "input.reasoning.encrypted_content")
        return
    answer = conversation.last_answer()
    if answer is None or answer["content"] is not None or "tool_calls" in answer:
        answer = conversation.answer()
    for thought in thoughts:
        add_reasoning(answer, thought)


def _parts(content: Any, where: str) -> list[Fields]:
    if isinstance(content, str):
        return [text_part(content)]
    return [_part(part, f"{where}[{index}]") for index, part in enumerate(objects(content, where))]


def _part(part: Fields, where: str) -> Fields:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return text_part(text_of(part, "text", where))
        case "refusal":
            return text_part(text_of(part, "refusal", where))
        case "input_image":
            if not isinstance(part.get("image_url"), str):
                raise invalid(where, "must have an image_url; there is no file store here")
            return image_part(part["image_url"], part.get("detail"))
        case "input_file":
            if not isinstance(part.get("file_data"), str):
                raise invalid(where, "must have file_data; there is no file store here")
            return file_part(part.get("filename"), part["file_data"])
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case _:
            raise invalid(where, "is a part of a type that no engine here can read")


def _read_text(text: Any, asked: Asked) -> None:
    if not isinstance(text, dict):
        return
    for name in text:
        if name != "format" and text[name] is not None:
            drop(asked, f"text.{name}")
    form = text.get("format")
    if form is None:
        return
    match form.get("type") if isinstance(form, dict) else None:
        case "text":
            pass
        case "json_object":
            asked.fields["response_format"] = {"type": "json_object"}
        case "json_schema":
            if not isinstance(form.get("schema"), dict):
                raise invalid("text.format.schema", "must be an object")
            names = ("name", "description", "schema", "strict")
            schema = {name: form[name] for name in names if form.get(name) is not None}
            asked.fields["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer"} | schema}
        case _:
            raise invalid("text.format", "must be of the type text, json_object or json_schema")


def _read_reasoning(reasoning: Any, asked: Asked) -> None:
    if not isinstance(reasoning, dict):
        return
    if reasoning.get("summary") or reasoning.get("generate_summary"):
        asked.kept["summary"] = True
    effort = reasoning.get("effort")
    if effort is not None:
        if not isinstance(effort, str) or effort not in _LEVELS:
            raise invalid("reasoning.effort", f"must be one of {', '.join(_LEVELS)}")
        asked.fields["think"] = _LEVELS[effort]
    for name in reasoning:
        if name not in ("effort", "summary", "generate_summary") and reasoning[name] is not None:
            drop(asked, f"reasoning.{name}")


def _read_include(fields: Fields, asked: Asked) -> None:
    include = fields.get("include") or []
    if not isinstance(include, list):
        raise invalid("include", "must be a list")
    for name in include:
        if name != _LOGPROBS:
            drop(asked, f"include.{name}")
    if _LOGPROBS in include or fields.get("top_logprobs"):
        asked.fields["logprobs"] = True
    if fields.get("top_logprobs"):
        asked.fields["top_logprobs"] = fields["top_logprobs"]


def _read_tools(fields: Fields, asked: Asked) -> None:
    tools: list[Fields] = []
    for index, tool in enumerate(objects(fields.get("tools"), "tools")):
        if tool.get("type") != "function":
            # What runs at OpenAI only.
            drop(asked, f"tools.{tool.get('type')}")
            continue
        name = text_of(tool, "name", f"tools[{index}]")
        tools.append(function_tool(name, tool, tool.get("parameters") or {"type": "object", "properties": {}}))
    choice = fields.get("tool_choice")
    if choice is not None:
        tools, choice = _read_choice(choice, tools)
    if tools:
        asked.fields["tools"] = tools
        if choice is not None:
            asked.fields["tool_choice"] = choice
    elif choice not in (None, "auto", "none"):
        raise invalid("tool_choice", "asks for a tool that is not among the functions in “tools”")


def _read_choice(choice: Any, tools: list[Fields]) -> tuple[list[Fields], Any]:
    """The tools that may be used, and the choice among them."""
    if choice in ("auto", "none", "required"):
        return tools, choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        return tools, {"type": "function", "function": {"name": text_of(choice, "name", "tool_choice")}}
    if kind == "allowed_tools":
        allowed = [tool.get("name") for tool in objects(choice.get("tools"), "tool_choice.tools")]
        return [tool for tool in tools if tool["function"]["name"] in allowed], choice.get("mode", "auto")
    raise invalid("tool_choice", "must be auto, none, required, a function or allowed_tools")
