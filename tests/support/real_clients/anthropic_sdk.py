"""The `anthropic` package."""

from __future__ import annotations

from typing import Any

import anthropic
from client_cells import (
    ANTHROPIC,
    EMBEDDINGS,
    FORCED,
    IMAGE,
    PARAMETERS,
    PICTURE,
    SCHEMA,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    Question,
    RealClient,
    RefusalError,
    Said,
)

_SOURCE = {"type": "base64", "media_type": "image/png", "data": PICTURE}


def message_fields(question: Question) -> dict[str, Any]:
    """The request of a message, as Anthropic's interface has it."""
    content: list[Any] = [{"type": "text", "text": question.said}]
    if question.feature == IMAGE:
        content.append({"type": "image", "source": _SOURCE})
    fields: dict[str, Any] = {
        "model": question.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": question.most,
        "temperature": question.temperature,
    }
    if question.stop is not None:
        fields["stop_sequences"] = [question.stop]
    if question.has_tools:
        fields["tools"] = [{"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "input_schema": PARAMETERS}]
    if question.feature == FORCED:
        fields["tool_choice"] = {"type": "tool", "name": TOOL_NAME}
    if question.feature == SCHEMA:
        fields["output_config"] = {"format": {"type": "json_schema", "schema": question.schema}}
    return fields


class AnthropicClient(RealClient):
    name = "anthropic"
    dialect = ANTHROPIC
    cannot = frozenset({EMBEDDINGS})

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sdk = anthropic.Anthropic(base_url=url, api_key="EMPTY", max_retries=0, timeout=120)

    def ask(self, question: Question) -> Said:
        try:
            return self._asked(message_fields(question), question)
        except anthropic.APIStatusError as error:
            told = error.body.get("error", {}) if isinstance(error.body, dict) else {}
            raise RefusalError(error.status_code, told.get("code"), str(told.get("message"))) from error

    def _asked(self, fields: dict[str, Any], question: Question) -> Said:
        # The newest models of Anthropic take no temperature, and so the package has no word for it.
        fields["extra_body"] = {"temperature": fields.pop("temperature")}
        if not question.streams:
            return _read(self.sdk.messages.create(**fields))
        with self.sdk.messages.stream(**fields) as stream:
            pieces = list(stream.text_stream)
            said = _read(stream.get_final_message())
        assert said.text == "".join(pieces)
        said.pieces = len(pieces)
        return said

    def close(self) -> None:
        self.sdk.close()


def _read(message: Any) -> Said:
    text = "".join(block.text for block in message.content if block.type == "text")
    calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    usage = message.usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    return Said(text, calls, usage=(read, usage.output_tokens), finish=message.stop_reason)
