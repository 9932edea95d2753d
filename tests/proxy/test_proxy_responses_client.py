"""The official `openai` client, unchanged, before the dialects of chat and of responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from hub import DialectServer, Said, dialect_server
from pydantic import BaseModel

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.openai import OpenAIDialect
from quarterdeck.proxy.dialects.responses import ResponsesDialect

WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
TOOLS: Any = [WEATHER, {"type": "web_search"}]
CALLS = Said(
    reasoning="I should look.", text="I look.", finish="tool_calls",
    calls=[("call_1", "weather", '{"city": "Oslo"}'), ("call_2", "weather", "{}")],
)  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[DialectServer]:
    with dialect_server(ResponsesDialect()) as server:
        yield server


@pytest.fixture
def server(served: DialectServer) -> DialectServer:
    served.said, served.error, served.breaks_after = Said(text="Hello there."), None, None
    return served


@pytest.fixture
def client(server: DialectServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="EMPTY", max_retries=0) as made:
        yield made


def shapes(output: Any) -> list[dict[str, Any]]:
    """The items of a response without their ids, which are made anew each time."""
    return [{**item.to_dict(), "id": ""} for item in output]


def test_a_plain_answer(client: openai.OpenAI) -> None:
    response = client.responses.create(model="mine", input="hi", temperature=0.5)
    assert (response.output_text, response.status, response.model) == ("Hello there.", "completed", "mine")
    assert response.temperature == 0.5
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (12, 7, 19)
    assert response.usage.input_tokens_details.cached_tokens == 5


@pytest.mark.parametrize("summary", [None, "auto"])
def test_a_stream_with_thoughts_text_and_calls_is_gathered_whole(
    server: DialectServer, client: openai.OpenAI, summary: Any
) -> None:
    server.said = CALLS
    asking: Any = {"model": "mine", "input": "hi", "tools": TOOLS, "reasoning": {"effort": "low", "summary": summary}}
    whole = client.responses.create(**asking)
    with client.responses.stream(**asking) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    told: Any = list(client.responses.create(**asking, stream=True))
    assert shapes(told[-1].response.output) == shapes(whole.output)
    assert [item.type for item in streamed.output] == [item.type for item in whole.output]
    assert streamed.output_text == "I look."
    assert [item.type for item in whole.output] == ["reasoning", "message", "function_call", "function_call"]
    assert streamed.usage == whole.usage
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    thought = "response.reasoning_summary_text.delta" if summary else "response.reasoning_text.delta"
    assert thought in kinds
    assert server.asked is not None
    assert server.asked.dropped == ["tools.web_search"]
    assert server.fields["think"] == "low"


def test_a_conversation_goes_on_with_the_items_of_the_answer(server: DialectServer, client: openai.OpenAI) -> None:
    server.said = CALLS
    first = client.responses.create(model="mine", input="hi", tools=TOOLS)
    picture = {"type": "input_image", "image_url": "data:image/png;base64,cG5n", "detail": "low"}
    rain = {"type": "input_text", "text": "Rain"}
    history: Any = [
        {"role": "user", "content": "hi"}, *first.output,
        {"type": "function_call_output", "call_id": "call_1", "output": [rain, picture]},
        {"type": "function_call_output", "call_id": "call_2", "output": "Sun"},
        {"role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ]  # fmt: skip
    client.responses.create(model="mine", input=history, instructions="Be brief.")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n", "detail": "low"}}
    assert server.fields["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        CALLS.message(),
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Sun"},
        {"role": "user", "content": [image, {"type": "text", "text": "And now?"}]},
    ]


class City(BaseModel):
    name: str


def test_structured_output_is_parsed(server: DialectServer, client: openai.OpenAI) -> None:
    server.said = Said(text='{"name": "Oslo"}')
    response = client.responses.parse(model="mine", input="hi", text_format=City)
    assert response.output_parsed == City(name="Oslo")
    form = server.fields["response_format"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == ("json_schema", "City", True)


def test_an_answer_that_was_cut_is_incomplete(server: DialectServer, client: openai.OpenAI) -> None:
    server.said = Said(text="Once upon", finish="length")
    response = client.responses.create(model="mine", input="hi", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    with client.responses.stream(model="mine", input="hi", max_output_tokens=2) as stream:
        assert [event.type for event in stream][-1] == "response.incomplete"
    assert server.fields["max_tokens"] == 2


@pytest.mark.parametrize(
    "fields", [{"previous_response_id": "resp_1"}, {"background": True}, {"conversation": "conv_1"}]
)
def test_what_needs_stored_answers_is_refused(client: openai.OpenAI, fields: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="no answers are stored here") as refused:
        client.responses.create(model="mine", input="hi", **fields)
    assert refused.value.param == next(iter(fields))


@pytest.mark.parametrize("after", [0, 3])
def test_a_stream_that_breaks_off_says_so_and_ends(server: DialectServer, client: openai.OpenAI, after: int) -> None:
    server.error, server.breaks_after = AppError("engine_lost", "The engine stopped.", status=502), after
    with client.responses.stream(model="mine", input="hi") as stream:
        told = list(stream)
    assert [event.type for event in told[-2:]] == ["error", "response.failed"]
    failed: Any = told[-1]
    assert failed.response.error.message == "The engine stopped."
    assert failed.response.status == "failed"


@pytest.fixture
def chat() -> Iterator[tuple[DialectServer, openai.OpenAI]]:
    with (
        dialect_server(OpenAIDialect()) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="EMPTY", max_retries=0) as client,
    ):
        yield server, client


def test_a_chat_stream_that_was_made_anew_is_gathered_whole(chat: tuple[DialectServer, openai.OpenAI]) -> None:
    server, client = chat
    server.said = CALLS
    asking: Any = {"model": "mine", "messages": [{"role": "user", "content": "hi"}]}
    with client.chat.completions.stream(**asking, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()
    message = streamed.choices[0].message
    assert message.content == "I look."
    assert [(call.id, call.function.arguments) for call in message.tool_calls or []] == [
        ("call_1", '{"city": "Oslo"}'),
        ("call_2", "{}"),
    ]
    assert streamed.usage is not None
    assert streamed.usage.total_tokens == 19


def test_a_chat_stream_that_breaks_off_raises(chat: tuple[DialectServer, openai.OpenAI]) -> None:
    server, client = chat
    server.error, server.breaks_after = AppError("engine_lost", "The engine stopped.", status=502), 3
    asking: Any = {"model": "mine", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with pytest.raises(openai.APIError, match=r"The engine stopped\."):
        list(client.chat.completions.create(**asking))
