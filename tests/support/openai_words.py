"""Chats and responses in the words of OpenAI's interface, and what the objects of its Python packages tell."""

from __future__ import annotations

import json
from typing import Any

from client_cells import (
    FORCED,
    FUNCTION,
    IMAGE,
    PICTURE_URL,
    SCHEMA,
    TOOL_NAME,
    Question,
    Said,
)


def chat_fields(question: Question) -> dict[str, Any]:
    """The request of a chat, as OpenAI's interface has it."""
    content: Any = question.said
    if question.feature == IMAGE:
        content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": {"url": PICTURE_URL}}]
    fields: dict[str, Any] = {
        "model": question.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": question.most,
        "temperature": question.temperature,
    }
    if question.seed is not None:
        fields["seed"] = question.seed
    if question.stop is not None:
        fields["stop"] = question.stop
    if question.streams:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    if question.has_tools:
        fields["tools"] = [{"type": "function", "function": FUNCTION}]
    if question.feature == FORCED:
        fields["tool_choice"] = {"type": "function", "function": {"name": TOOL_NAME}}
    if question.feature == SCHEMA:
        form = {"name": "answer", "schema": question.schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": form}
    return fields


def responses_fields(question: Question) -> dict[str, Any]:
    """The request of a response, as OpenAI's interface has it."""
    given: Any = question.said
    if question.feature == IMAGE:
        parts = [{"type": "input_text", "text": given}, {"type": "input_image", "image_url": PICTURE_URL}]
        given = [{"role": "user", "content": parts}]
    fields: dict[str, Any] = {
        "model": question.model,
        "input": given,
        "max_output_tokens": question.most,
        "temperature": question.temperature,
    }
    if question.streams:
        fields["stream"] = True
    if question.has_tools:
        fields["tools"] = [{"type": "function", **FUNCTION, "strict": True}]
    if question.feature == FORCED:
        fields["tool_choice"] = {"type": "function", "name": TOOL_NAME}
    if question.feature == SCHEMA:
        form = {"type": "json_schema", "name": "answer", "schema": question.schema, "strict": True}
        fields["text"] = {"format": form}
    return fields


def read_chat(answer: Any) -> Said:
    """A whole answer to a chat, as the package has it."""
    choice, usage = answer.choices[0], answer.usage
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()]
    used = (usage.prompt_tokens, usage.completion_tokens)
    return Said(choice.message.content or "", calls, usage=used, finish=choice.finish_reason)


def read_chunks(chunks: Any) -> Said:
    """A streamed answer to a chat, as the package has it."""
    said = Said()
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if getattr(chunk, "usage", None) is not None:
            said.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            said.finish = choice.finish_reason or said.finish
            if choice.delta.content:
                said.text += choice.delta.content
                said.pieces += 1
            for call in choice.delta.tool_calls or ():
                parts = calls.setdefault(call.index, ["", ""])
                parts[0] += call.function.name or ""
                parts[1] += call.function.arguments or ""
    said.calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    return said


def read_response(response: Any) -> Said:
    """A whole response, as the package has it."""
    calls = [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"]
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    cut = response.incomplete_details.reason if response.status == "incomplete" else None
    usage = (response.usage.input_tokens, response.usage.output_tokens)
    return Said("".join(part.text for part in parts), calls, usage=usage, finish=cut or response.status)


def read_events(events: Any) -> Said:
    """A streamed response, as the package has it: what the last event holds, and how many pieces it came in."""
    pieces, text, said = 0, "", None
    for event in events:
        if event.type == "response.output_text.delta":
            pieces += 1
            text += event.delta
        elif event.type in ("response.completed", "response.incomplete"):
            said = read_response(event.response)
    assert said is not None, "the stream had no end"
    assert said.text == text
    said.pieces = pieces
    return said
