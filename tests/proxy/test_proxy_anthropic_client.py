"""The official `anthropic` client, unchanged, before the dialect of Anthropic's messages."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from hub import DialectServer, Said, dialect_server
from pydantic import BaseModel

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.anthropic import AnthropicDialect

MESSAGES: Any = [{"role": "user", "content": "What is the weather?"}]
TOOLS: Any = [
    {"name": "weather", "description": "The weather.", "input_schema": {"type": "object", "properties": {}}},
    {"type": "web_search_20250305", "name": "web_search"},
]
CALLS = Said(
    reasoning="I should look.", text="I look.", finish="tool_calls",
    calls=[("call_1", "weather", '{"city": "Oslo"}'), ("call_2", "weather", "{}")],
)  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[DialectServer]:
    with dialect_server(AnthropicDialect()) as server:
        yield server


@pytest.fixture
def server(served: DialectServer) -> DialectServer:
    served.said, served.error, served.breaks_after = Said(text="Hello there."), None, None
    return served


@pytest.fixture
def client(server: DialectServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="EMPTY", max_retries=0) as made:
        yield made


def test_a_plain_answer(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="mine", max_tokens=10, messages=MESSAGES)
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "Hello there."}]
    assert (message.model, message.role, message.stop_reason) == ("mine", "assistant", "end_turn")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (7, 5, 7)


def test_a_stream_with_thoughts_text_and_calls_is_gathered_whole(
    server: DialectServer, client: anthropic.Anthropic
) -> None:
    server.said = CALLS
    whole = client.messages.create(model="mine", max_tokens=10, messages=MESSAGES, tools=TOOLS)
    with client.messages.stream(model="mine", max_tokens=10, messages=MESSAGES, tools=TOOLS) as stream:
        assert "".join(stream.text_stream) == "I look."
        streamed = stream.get_final_message()
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert [block.type for block in whole.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole.content[2].to_dict() == {
        "type": "tool_use",
        "id": "call_1",
        "name": "weather",
        "input": {"city": "Oslo"},
    }
    assert whole.stop_reason == streamed.stop_reason == "tool_use"
    assert whole.usage.to_dict() == streamed.usage.to_dict()
    assert server.asked is not None
    assert server.asked.dropped == ["tools.web_search_20250305"]


def test_a_conversation_with_tools_and_images_goes_on(server: DialectServer, client: anthropic.Anthropic) -> None:
    server.said = CALLS
    first = client.messages.create(model="mine", max_tokens=10, messages=MESSAGES, tools=TOOLS)
    image: Any = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"png").decode()},
    }
    results: Any = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "Rain"}, image]},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "Sun"},
        {"type": "text", "text": "And now?"},
    ]
    history: Any = [
        *MESSAGES, {"role": "assistant", "content": first.to_dict()["content"]}, {"role": "user", "content": results},
    ]  # fmt: skip
    client.messages.create(model="mine", max_tokens=10, system="Be brief.", messages=history)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}}
    assert server.fields["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the weather?"},
        CALLS.message(),
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Sun"},
        {"role": "user", "content": [picture, {"type": "text", "text": "And now?"}]},
    ]


class City(BaseModel):
    name: str


def test_structured_output_is_parsed(server: DialectServer, client: anthropic.Anthropic) -> None:
    server.said = Said(text='{"name": "Oslo"}')
    message = client.messages.parse(model="mine", max_tokens=10, messages=MESSAGES, output_format=City)
    assert message.parsed_output == City(name="Oslo")
    form = server.fields["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["properties"]["name"]["type"] == "string"


def test_thoughts_are_asked_for_and_can_be_left_out(server: DialectServer, client: anthropic.Anthropic) -> None:
    server.said = Said(reasoning="Hm.", text="Yes.")
    enabled: Any = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    with client.messages.stream(model="mine", max_tokens=2048, messages=MESSAGES, thinking=enabled) as stream:
        assert [block.type for block in stream.get_final_message().content] == ["text"]
    assert server.fields["think"] is True
    assert server.asked is not None
    assert server.asked.dropped == ["thinking.budget_tokens"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, anthropic.BadRequestError), (401, anthropic.AuthenticationError), (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError), (429, anthropic.RateLimitError), (503, anthropic.InternalServerError),
    ],
)  # fmt: skip
def test_errors_are_those_that_the_client_knows(
    server: DialectServer, client: anthropic.Anthropic, status: int, expected: type[anthropic.APIStatusError]
) -> None:
    server.error = AppError("busy", "It did not work.", "Try later.", status=status)
    with pytest.raises(expected) as raised:
        client.messages.create(model="mine", max_tokens=10, messages=MESSAGES)
    body: Any = raised.value.body
    assert body["type"] == "error"
    assert body["error"]["message"] == "It did not work. Try later."


@pytest.mark.parametrize("after", [0, 3])
def test_a_stream_that_breaks_off_raises(server: DialectServer, client: anthropic.Anthropic, after: int) -> None:
    server.error, server.breaks_after = AppError("engine_lost", "The engine stopped.", status=502), after
    with (
        pytest.raises(anthropic.APIStatusError, match=r"The engine stopped\."),
        client.messages.stream(model="mine", max_tokens=10, messages=MESSAGES) as stream,
    ):
        stream.get_final_message()
