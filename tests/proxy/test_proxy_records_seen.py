"""What is learnt of an answer from its bytes, however they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.proxy.records.seen import TAIL_BYTES, Figures, Seen

LLAMA = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"id":"c"}\n\n',
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"I"}}],"id":"c"}\n\n',
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"\'m"}}],"id":"c"}\n\n',
    b'data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"id":"c"}\n\n',
    b'data: {"choices":[],"usage":{"completion_tokens":12,"prompt_tokens":37,"total_tokens":49,"prompt_tokens_details"'
    b':{"cached_tokens":36}},"timings":{"cache_n":36,"prompt_n":1,"predicted_n":12,"predicted_ms":2343.91,'
    b'"predicted_per_second":4.6930129569821375}}\n\n',
    b"data: [DONE]\n\n",
)
OLLAMA = (
    b'{"model":"smollm2","message":{"role":"assistant","content":""},"done":false}\n',
    b'{"model":"smollm2","message":{"role":"assistant","content":"Hello"},"done":false}\n',
    b'{"model":"smollm2","message":{"role":"assistant","content":""},"done_reason":"length","done":true,'
    b'"total_duration":230971033,"load_duration":8796697,"prompt_eval_count":11,"prompt_eval_duration":35209134,'
    b'"eval_count":6,"eval_duration":184962080}\n',
)
LLAMA_EMBEDDINGS = (
    b'{"model":"m","object":"list","usage":{"prompt_tokens":3,"total_tokens":3},"data":[{"embedding":['
    + b",".join([b"0.0130"] * 2000)
    + b"]}]}"
)

names = st.sampled_from(["choices", "delta", "message", "usage", "timings", "prompt_tokens", "predicted_per_second"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(names, each),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces that end at `places`."""
    ends = [*sorted({place % len(data) for place in places} - {0}), len(data)]
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(st.lists(st.integers(0, 2000), max_size=40))
def test_a_stream_tells_the_same_however_it_is_cut(places: list[int]) -> None:
    seen = Seen(stream=True)
    for piece in cut(b"".join(LLAMA), places):
        seen.sse(piece)
    figures = seen.figures()
    assert (figures.prompt_tokens, figures.completion_tokens) == (37, 12)
    assert figures.tokens_per_second == pytest.approx(4.693, abs=0.001)
    assert seen.ended
    assert seen.first > 0


@given(st.lists(st.integers(0, 2000), max_size=40))
def test_lines_of_ollama_tell_the_same_however_they_are_cut(places: list[int]) -> None:
    seen = Seen(stream=True)
    for piece in cut(b"".join(OLLAMA), places):
        seen.ndjson(piece)
    figures = seen.figures()
    assert (figures.prompt_tokens, figures.completion_tokens) == (11, 6)
    assert figures.tokens_per_second == pytest.approx(6 / 0.184962080)
    assert seen.ended
    assert seen.first > 0


@pytest.mark.parametrize(("stream", "feed"), [(LLAMA, "sse"), (OLLAMA, "ndjson")])
def test_the_first_token_is_the_first_text(stream: tuple[bytes, ...], feed: str) -> None:
    seen = Seen(stream=True)
    getattr(seen, feed)(stream[0])
    assert seen.first == 0
    getattr(seen, feed)(stream[1])
    first = seen.first
    assert first > 0
    getattr(seen, feed)(stream[2])
    assert seen.first == first


@pytest.mark.parametrize(
    "event",
    [
        {"delta": {"reasoning_content": "Hm"}},
        {"delta": {"reasoning": "Hm"}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"name": "clock", "arguments": ""}}]}},
        {"delta": {"content": '"'}},
        {"text": "\n"},
    ],
)
def test_reasoning_and_tools_are_first_tokens_too(event: dict[str, Any]) -> None:
    chunk = {"choices": [{"index": 0, "finish_reason": None, **event}]}
    raw, read = Seen(stream=True), Seen(stream=True)
    raw.sse(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    read.chunk(chunk)
    assert raw.first > 0
    assert read.first > 0


@pytest.mark.parametrize("count", range(len(LLAMA)))
def test_a_stream_that_breaks_off_has_not_ended(count: int) -> None:
    seen = Seen(stream=True)
    for event in LLAMA[:count]:
        seen.sse(event)
    assert seen.ended is (count > 3)


def test_lines_that_break_off_have_not_ended() -> None:
    seen = Seen(stream=True)
    for line in OLLAMA[:2]:
        seen.ndjson(line)
    assert not seen.ended


@pytest.mark.parametrize(
    ("data", "ended"),
    [
        (b'data: {"error": {"message": "out of memory"}}\n\n', True),
        (b'data: {"choices":[{"delta":{"content":"x"}}],"error":null}\n\n', False),
        (b"data: [DONE]\n\n", True),
        (b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n', False),
        (b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\": \\"stop\\""}}]}\n\n', False),
    ],
)
def test_only_the_engine_ends_a_stream_never_its_text(data: bytes, ended: bool) -> None:
    seen = Seen(stream=True)
    seen.sse(data)
    assert seen.ended is ended


@given(st.text(), st.integers(0, 9999), st.integers(0, 9999))
def test_text_never_passes_for_counts(text: str, prompt: int, completion: int) -> None:
    text = f'{text} "completion_tokens": 7, "usage"'
    answer = {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
    }
    raw, read = Seen(stream=False), Seen(stream=False)
    raw.sse(json.dumps(answer).encode())
    read.chunk(answer)
    assert raw.figures() == Figures(prompt, completion, None, 0)
    assert read.figures()[:3] == (prompt, completion, None)


def test_a_usage_in_front_of_a_long_answer_is_found() -> None:
    seen = Seen(stream=False)
    assert len(LLAMA_EMBEDDINGS) > 2 * TAIL_BYTES
    for piece in cut(LLAMA_EMBEDDINGS, [4000, 8000]):
        seen.sse(piece)
    assert seen.figures() == Figures(3, None, None, 0)


def test_timings_stand_in_for_a_usage_that_nobody_asked_for() -> None:
    seen = Seen(stream=True)
    seen.sse(LLAMA[1])
    seen.sse(
        b'data: {"choices":[],"timings":{"cache_n":36,"prompt_n":1,"predicted_n":12,"predicted_per_second":4.5}}\n\n'
    )
    assert seen.figures()[:3] == (37, 12, 4.5)


def test_pieces_of_text_are_counted() -> None:
    raw, read = Seen(stream=True), Seen(stream=True)
    for event in LLAMA[:3]:
        raw.sse(event)
        read.chunk(json.loads(event.removeprefix(b"data: ")))
    assert raw.figures().pieces == read.figures().pieces == 2


@given(anything.map(lambda value: dict.fromkeys(("choices", "usage", "timings", "error"), value)))
def test_no_chunk_can_upset_it(chunk: dict[str, Any]) -> None:
    for stream in (True, False):
        seen = Seen(stream=stream)
        seen.chunk(chunk)
        seen.figures()
        assert seen.ended


@given(st.lists(st.binary(max_size=3000), max_size=5), st.booleans())
def test_no_bytes_can_upset_it(pieces: list[bytes], stream: bool) -> None:
    for feed in ("sse", "ndjson"):
        seen = Seen(stream=stream)
        for piece in pieces:
            getattr(seen, feed)(piece)
        seen.figures()
        assert isinstance(seen.ended, bool)
