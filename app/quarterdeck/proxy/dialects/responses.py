"""The dialect of OpenAI's Responses API. Nothing is stored: every request brings its whole conversation."""

from __future__ import annotations

import secrets
import time

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Dialect, Fields, Writer
from quarterdeck.proxy.dialects.openai import openai_error
from quarterdeck.proxy.dialects.pieces import BlockWriter, Call, Kind, Piece, Pieces, count, detail, named_event
from quarterdeck.proxy.dialects.responses_items import FORMS, Form, Item
from quarterdeck.proxy.dialects.responses_request import read_request

RESPONSES_PATHS = ("/v1/responses",)

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

# Fields of the request that stand in its answer, with what stands there when they were not given.
_ECHOED: Fields = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "metadata": {}, "reasoning": None,
    "parallel_tool_calls": True, "temperature": None, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
    "tools": [], "top_logprobs": None, "top_p": None, "truncation": "disabled", "user": None,
}  # fmt: skip


class ResponsesDialect(Dialect):
    """Clients of OpenAI's Responses API."""

    name = "responses"

    def read(self, path: str, fields: Fields) -> Asked:
        return read_request(fields)

    def answer(self, asked: Asked, answer: Fields) -> Fields:
        said = Pieces()
        output = []
        for piece in said.take_whole(answer):
            item = Item(_form(piece.kind, asked), piece.call)
            item.add(piece)
            output.append(item.done(_status(said)))
        return _response(asked, said, output)

    def writer(self, asked: Asked) -> Writer:
        return ResponsesWriter(asked)

    def error(self, error: AppError) -> Fields:
        return openai_error(error)


class ResponsesWriter(BlockWriter):
    """Writes the events of a response: response.created, items with their parts, response.completed."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked
        self._identity = _identity()
        self._output: list[Fields] = []
        self._item: Item | None = None
        self._number = -1

    def error(self, error: AppError) -> bytes:
        begun = b"" if self._started else self._begin()
        told = openai_error(error)["error"]
        brief = {"code": str(told["code"]), "message": told["message"]}
        response = _response(self._asked, self._said, self._output) | self._identity
        failed = response | {"status": "failed", "error": brief, "incomplete_details": None, "completed_at": None}
        return (
            begun
            + self._event("error", {**brief, "param": told["param"]})
            + self._event("response.failed", {"response": failed})
        )

    def _start(self) -> bytes:
        begun = _response(self._asked, Pieces(), []) | self._identity
        begun |= {"status": "in_progress", "completed_at": None}
        return self._event("response.created", {"response": begun}) + self._event(
            "response.in_progress", {"response": begun}
        )

    def _open(self, kind: Kind, call: Call | None) -> bytes:
        self._item = item = Item(_form(kind, self._asked), call)
        added = self._event("response.output_item.added", {**self._place(), "item": item.begun()})
        if item.form is None:
            return added
        return added + self._event(f"{item.form.part}.added", {**self._inside(item), "part": item.part("")})

    def _fill(self, piece: Piece) -> bytes:
        assert self._item is not None
        self._item.add(piece)
        delta: Fields = {**self._inside(self._item), "delta": piece.text}
        if piece.kind == "text":
            delta["logprobs"] = piece.logprobs
        return self._event(f"{self._item.event}.delta", delta)

    def _close(self, kind: Kind, call: Call | None) -> bytes:
        assert self._item is not None
        item, self._item = self._item, None
        place, inside = self._place(), self._inside(item)
        whole = item.done("completed")
        self._output.append(whole)
        if item.form is None:
            told = self._event(f"{item.event}.done", {**inside, "arguments": item.text, "name": whole["name"]})
        else:
            logprobs = {"logprobs": item.logprobs} if kind == "text" else {}
            told = self._event(f"{item.event}.done", {**inside, item.form.key: item.text, **logprobs})
            told += self._event(f"{item.form.part}.done", {**inside, "part": item.part(item.text)})
        return told + self._event("response.output_item.done", {**place, "item": whole})

    def _finish(self) -> bytes:
        response = _response(self._asked, self._said, self._output) | self._identity
        return self._event(f"response.{response['status']}", {"response": response})

    def _place(self) -> Fields:
        return {"output_index": len(self._output)}

    def _inside(self, item: Item) -> Fields:
        index = {item.form.counter: 0} if item.form is not None else {}
        return {"item_id": item.id, **self._place(), **index}

    def _event(self, kind: str, fields: Fields) -> bytes:
        self._number += 1
        return named_event({"type": kind, "sequence_number": self._number, **fields})


def _identity() -> Fields:
    return {"id": f"resp_{secrets.token_hex(16)}", "created_at": int(time.time())}


def _response(asked: Asked, said: Pieces, output: list[Fields]) -> Fields:
    request = asked.kept["request"]
    status = _status(said)
    echoed = {name: default if request.get(name) is None else request[name] for name, default in _ECHOED.items()}
    return {
        **_identity(),
        "object": "response",
        "status": status,
        "completed_at": int(time.time()) if status == "completed" else None,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": _INCOMPLETE[said.finish or ""]} if status == "incomplete" else None,
        "model": asked.model,
        "output": output,
        "previous_response_id": None,
        "service_tier": "default",
        "store": False,
        "usage": _usage(said.usage) if said.usage else None,
        **echoed,
    }


def _status(said: Pieces) -> str:
    return "incomplete" if said.finish in _INCOMPLETE else "completed"


def _usage(usage: Fields) -> Fields:
    asked, answered = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    cached = detail(usage, "prompt_tokens_details", "cached_tokens")
    reasoning = detail(usage, "completion_tokens_details", "reasoning_tokens")
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": asked + answered,
    }


def _form(kind: Kind, asked: Asked) -> Form | None:
    return FORMS.get("summary" if kind == "reasoning" and "summary" in asked.kept else kind)
