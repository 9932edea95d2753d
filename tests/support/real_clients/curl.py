"""curl: requests as a script would write them, and answers as they came."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from client_cells import (
    ANTHROPIC,
    EMBEDDINGS,
    FORCED,
    OLLAMA,
    OPENAI,
    RESPONSES,
    TEXTS,
    Question,
    RealClient,
    RefusalError,
    Said,
)
from openai_words import chat_fields, responses_fields

from real_clients.anthropic_sdk import message_fields
from real_clients.ollama_sdk import chat_fields as ollama_fields


class _Curl(RealClient):
    name = "curl"

    def post(self, path: str, fields: dict[str, Any]) -> bytes:
        """The body of the answer. Raises RefusalError."""
        command = [
            "curl", "-sS", "-N", "--noproxy", "*", "-m", "120", f"{self.url}{path}", "-H",
            "Content-Type: application/json", "-w", "\n%{http_code}", "-d", "@-",
        ]  # fmt: skip
        ran = subprocess.run(command, input=json.dumps(fields).encode(), capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr.decode()
        body, _, status = ran.stdout.rpartition(b"\n")
        if status != b"200":
            self._refuse(int(status), json.loads(body))
        return body

    def close(self) -> None:
        """Every request is a process of its own."""

    def _refuse(self, status: int, told: dict[str, Any]) -> None:
        error = told["error"]
        if isinstance(error, dict):
            raise RefusalError(status, error["code"], error["message"])
        raise RefusalError(status, told["code"], error)


def _events(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream; every one is JSON but the last of OpenAI's chats."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


class CurlChat(_Curl):
    dialect = OPENAI

    def ask(self, question: Question) -> Said:
        if question.feature == EMBEDDINGS:
            answer = json.loads(self.post("/v1/embeddings", {"model": question.model, "input": TEXTS}))
            return Said(vectors=[each["embedding"] for each in answer["data"]])
        body = self.post("/v1/chat/completions", chat_fields(question))
        if not question.streams:
            answer = json.loads(body)
            choice = answer["choices"][0]
            return _chat(choice["message"], choice["finish_reason"], answer["usage"])
        assert body.rstrip().endswith(b"data: [DONE]")
        events = _events(body)
        choices = [choice for event in events for choice in event["choices"]]
        texts = [choice["delta"].get("content") for choice in choices if choice["delta"].get("content")]
        calls: dict[int, dict[str, Any]] = {}
        for call in (call for choice in choices for call in choice["delta"].get("tool_calls") or ()):
            function = calls.setdefault(call["index"], {"function": {"name": "", "arguments": ""}})["function"]
            function["name"] += call["function"].get("name") or ""
            function["arguments"] += call["function"].get("arguments") or ""
        message = {"content": "".join(texts), "tool_calls": list(calls.values())}
        finish = next(choice["finish_reason"] for choice in choices if choice.get("finish_reason"))
        said = _chat(message, finish, next(event["usage"] for event in events if event.get("usage")))
        said.pieces = len(texts)
        return said


def _chat(message: dict[str, Any], finish: str, usage: dict[str, Any]) -> Said:
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    calls = [(function["name"], json.loads(function["arguments"])) for function in functions]
    used = (usage["prompt_tokens"], usage["completion_tokens"])
    return Said(message.get("content") or "", calls, usage=used, finish=finish)


class CurlResponses(_Curl):
    dialect = RESPONSES
    cannot = frozenset({EMBEDDINGS})

    def ask(self, question: Question) -> Said:
        body = self.post("/v1/responses", responses_fields(question))
        if not question.streams:
            return _response(json.loads(body))
        events = _events(body)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        said = _response(events[-1]["response"])
        said.pieces = sum(event["type"] == "response.output_text.delta" for event in events)
        return said


def _response(response: dict[str, Any]) -> Said:
    items = response["output"]
    text = "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"])
    calls = [(item["name"], json.loads(item["arguments"])) for item in items if item["type"] == "function_call"]
    used = (response["usage"]["input_tokens"], response["usage"]["output_tokens"])
    return Said(
        text, calls, usage=used, finish=(response["incomplete_details"] or {}).get("reason", response["status"])
    )


class CurlOllama(_Curl):
    dialect = OLLAMA
    cannot = frozenset({FORCED})

    def ask(self, question: Question) -> Said:
        if question.feature == EMBEDDINGS:
            answer = json.loads(self.post("/api/embed", {"model": question.model, "input": TEXTS}))
            return Said(vectors=answer["embeddings"])
        lines = [json.loads(line) for line in self.post("/api/chat", ollama_fields(question)).splitlines()]
        last = lines[-1]
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        functions = [call["function"] for line in lines for call in line["message"].get("tool_calls") or ()]
        calls = [(function["name"], function["arguments"]) for function in functions]
        texts = [line["message"]["content"] for line in lines]
        usage = (last["prompt_eval_count"], last["eval_count"])
        return Said("".join(texts), calls, usage=usage, finish=last["done_reason"], pieces=sum(map(bool, texts)))


class CurlAnthropic(_Curl):
    dialect = ANTHROPIC
    cannot = frozenset({EMBEDDINGS})

    def ask(self, question: Question) -> Said:
        stream = {"stream": True} if question.streams else {}
        body = self.post("/v1/messages", message_fields(question) | stream)
        if not question.streams:
            message = json.loads(body)
            blocks = message["content"]
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
            calls = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
            return _message(text, calls, message["usage"], message["stop_reason"])
        events = _events(body)
        assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
        deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
        texts = [delta["text"] for delta in deltas if delta["type"] == "text_delta"]
        blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        names = [block["name"] for block in blocks if block["type"] == "tool_use"]
        arguments = "".join(delta["partial_json"] for delta in deltas if delta["type"] == "input_json_delta")
        assert len(names) <= 1
        calls = [(name, json.loads(arguments or "{}")) for name in names]
        end = next(event for event in events if event["type"] == "message_delta")
        said = _message("".join(texts), calls, end["usage"], end["delta"]["stop_reason"])
        said.pieces = len(texts)
        return said


def _message(text: str, calls: list[tuple[str, Any]], usage: dict[str, Any], finish: str) -> Said:
    read = usage["input_tokens"] + usage["cache_read_input_tokens"]
    return Said(text, calls, usage=(read, usage["output_tokens"]), finish=finish)
