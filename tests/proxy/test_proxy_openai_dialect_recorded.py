"""Streams as engines really sent them, told in every dialect: the same text, end and counts."""

from __future__ import annotations

import json

import pytest
from hub import events

from quarterdeck.proxy.dialects.anthropic import AnthropicDialect
from quarterdeck.proxy.dialects.base import Dialect, Fields, Writer
from quarterdeck.proxy.dialects.openai import OpenAIDialect
from quarterdeck.proxy.dialects.responses import ResponsesDialect

LLAMA = """
{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795226694,\
"id":"chatcmpl-0z","model":"smollm2-gguf","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}
{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"I"}}],"created":1795226694,"id":"chatcmpl-0z",\
"model":"smollm2-gguf","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}
{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"'m"}}],"created":1795226694,"id":"chatcmpl-0z",\
"model":"smollm2-gguf","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}
{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795226696,"id":"chatcmpl-0z",\
"model":"smollm2-gguf","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}
{"choices":[],"created":1795226696,"id":"chatcmpl-0z","model":"smollm2-gguf","system_fingerprint":"b0-unknown",\
"object":"chat.completion.chunk","usage":{"completion_tokens":12,"prompt_tokens":37,"total_tokens":49,\
"prompt_tokens_details":{"cached_tokens":36}},"timings":{"cache_n":36,"prompt_n":1,"prompt_ms":5538.552}}
"""
VLLM = """
{"id":"chatcmpl-8e","object":"chat.completion.chunk","created":1795226357,"model":"smollm2","choices":[{"index":0,\
"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null,\
"prompt_text":null}
{"id":"chatcmpl-8e","object":"chat.completion.chunk","created":1795226357,"model":"smollm2","choices":[{"index":0,\
"delta":{"content":"I"},"logprobs":null,"finish_reason":null,"token_ids":null}]}
{"id":"chatcmpl-8e","object":"chat.completion.chunk","created":1795226357,"model":"smollm2","choices":[{"index":0,\
"delta":{"content":"'m"},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}]}
{"id":"chatcmpl-8e","object":"chat.completion.chunk","created":1795226357,"model":"smollm2","choices":[],\
"usage":{"prompt_tokens":37,"total_tokens":49,"completion_tokens":12},"system_fingerprint":"vllm-0.32.0-70a1f1c0"}
"""
OLLAMA = """
{"id":"chatcmpl-531","object":"chat.completion.chunk","created":1795227997,"model":"smollm2",\
"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"I"},"finish_reason":null}]}
{"id":"chatcmpl-531","object":"chat.completion.chunk","created":1795227997,"model":"smollm2",\
"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"'m"},\
"finish_reason":null}]}
{"id":"chatcmpl-531","object":"chat.completion.chunk","created":1795227997,"model":"smollm2",\
"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":""},\
"finish_reason":"length"}]}
{"id":"chatcmpl-531","object":"chat.completion.chunk","created":1795227997,"model":"smollm2",\
"system_fingerprint":"fp_ollama","choices":[],"usage":{"prompt_tokens":37,"completion_tokens":12,"total_tokens":49}}
"""
engines = pytest.mark.parametrize("recorded", [LLAMA, VLLM, OLLAMA], ids=["llama.cpp", "vllm", "ollama"])


def chunks(recorded: str) -> list[Fields]:
    return [json.loads(line) for line in recorded.strip().splitlines()]


def told(writer: Writer, recorded: str) -> bytes:
    return b"".join([*map(writer.write, chunks(recorded)), writer.end()])


def writer(dialect: Dialect, path: str, **fields: object) -> Writer:
    return dialect.writer(dialect.read(path, {"model": "m", "stream": True, **fields}))


MESSAGES = [{"role": "user", "content": "hi"}]


@engines
def test_in_openais_words_the_chunks_are_as_they_were(recorded: str) -> None:
    wish = {"messages": MESSAGES, "stream_options": {"include_usage": True}}
    data = told(writer(OpenAIDialect(), "/v1/chat/completions", **wish), recorded)
    lines = [line.removeprefix("data: ") for line in data.decode().strip().split("\n\n")]
    assert [json.loads(line) for line in lines[:-1]] == chunks(recorded)
    assert lines[-1] == "[DONE]"


@engines
def test_in_anthropics_words(recorded: str) -> None:
    message = events(told(writer(AnthropicDialect(), "/v1/messages", messages=MESSAGES), recorded))
    deltas = [event["delta"] for event in message if event["type"] == "content_block_delta"]
    assert deltas == [{"type": "text_delta", "text": text} for text in ("I", "'m")]
    assert message[-2]["delta"]["stop_reason"] == "max_tokens"
    usage = message[-2]["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == 37
    assert usage["output_tokens"] == 12


@engines
def test_in_the_words_of_responses(recorded: str) -> None:
    last = events(told(writer(ResponsesDialect(), "/v1/responses", input="hi"), recorded))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["content"][0]["text"] == "I'm"
    assert last["response"]["usage"]["total_tokens"] == 49
