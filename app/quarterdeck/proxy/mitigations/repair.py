"""Calls of tools in answers, as OpenAI's interface has them: with an id, an index, and arguments as JSON text."""

from __future__ import annotations

import ast
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.mitigations.found_calls import calls_in, may_become_a_call

_FINISHED = "tool_calls"
_WRONG_ENDS = ("stop", "function_call")
_LONGEST_HELD = 64 * 1024


def _nobody() -> None:
    pass


@dataclass(frozen=True, slots=True)
class AnswerRepair:
    """Repairs whole answers to a request that offered the tools `offered`.

    `named` says that the request named the one tool to be called; then an answer ends with “stop”, at OpenAI too.
    `tell` is called when something was wrong.
    """

    offered: frozenset[str]
    named: bool = False
    tell: Callable[[], None] = _nobody

    def __call__(self, answer: Fields) -> Fields:
        choices = answer.get("choices")
        if not isinstance(choices, list):
            return answer
        repaired = [self._choice(choice) for choice in choices]
        if all(new is old for new, old in zip(repaired, choices, strict=True)):
            return answer
        self.tell()
        return {**answer, "choices": repaired}

    def _choice(self, choice: Any) -> Any:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            return choice
        fixed = _message(message, self.offered)
        ended = choice.get("finish_reason")
        wrong = bool(fixed.get("tool_calls")) and not self.named and (ended is None or ended in _WRONG_ENDS)
        if fixed is message and not wrong:
            return choice
        return {**choice, "message": fixed, "finish_reason": _FINISHED if wrong else ended}


class ChunkRepair:
    """Repairs the chunks of one streamed answer, in their order.

    A text that may turn out to be a call is held back until it is certain, and given with the last chunk.
    """

    def __init__(self, offered: frozenset[str], *, named: bool = False, tell: Callable[[], None] = _nobody) -> None:
        self._tell = tell
        self._offered = offered
        self._named = named
        self._choices: dict[int, _Streamed] = {}

    def __call__(self, chunk: Fields) -> Fields:
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return chunk
        repaired = [self._choice(choice) for choice in choices]
        if all(new is old for new, old in zip(repaired, choices, strict=True)):
            return chunk
        return {**chunk, "choices": repaired}

    def _choice(self, choice: Any) -> Any:
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if not isinstance(delta, dict):
            return choice
        index = choice.get("index", 0)
        state = self._choices.setdefault(index if isinstance(index, int) else 0, _Streamed())
        ended = choice.get("finish_reason")
        fixed = state.calls(_with_calls(delta))
        fixed = state.text(fixed, self._offered, last=ended is not None)
        wrong = bool(state.ids) and not self._named and ended in _WRONG_ENDS
        if fixed is delta and not wrong:
            return choice
        if wrong or fixed.get("tool_calls"):
            self._tell()
        return {**choice, "delta": fixed, "finish_reason": _FINISHED if wrong else ended}


@dataclass(slots=True)
class _Streamed:
    """What came of one choice so far: the ids of its calls, in the order of their indexes, and held text."""

    ids: list[str] = field(default_factory=list)
    at: dict[object, int] = field(default_factory=dict)
    held: str = ""
    holds: bool = True

    def calls(self, delta: Fields) -> Fields:
        calls = delta.get("tool_calls")
        if not isinstance(calls, list):
            return delta
        fixed = [self._part(call) if isinstance(call, dict) else call for call in calls]
        return delta if fixed == calls else {**delta, "tool_calls": fixed}

    def _part(self, call: Fields) -> Fields:
        """One piece of a call. A name under another id, or without an index, begins a call."""
        function = _object(call.get("function"))
        index = self._known(call, begins=bool(function.get("name")))
        if index is None:
            index = len(self.ids)
            self.ids.append(str(call.get("id") or _new_id()))
            self.at[call.get("index")] = index
            call = {**call, "id": self.ids[index], "type": call.get("type") or "function"}
            function = {**function, "arguments": _text_of(function.get("arguments"))}
        elif function.get("arguments") is not None:
            function = {**function, "arguments": _text_of(function["arguments"])}
        return {**call, "index": index, "function": function} if function else {**call, "index": index}

    def _known(self, call: Fields, *, begins: bool) -> int | None:
        """The index of the call that this is a piece of; None for a new one."""
        own_id = call.get("id")
        if own_id and str(own_id) in self.ids:
            return self.ids.index(str(own_id))
        given = call.get("index")
        index = self.at.get(given) if isinstance(given, int) else (len(self.ids) - 1 if self.ids else None)
        return None if begins and (own_id or not isinstance(given, int)) else index

    def text(self, delta: Fields, offered: frozenset[str], *, last: bool) -> Fields:
        said = delta.get("content")
        if not self.holds:
            return delta
        if isinstance(said, str):
            self.held += said
        if not self.held:
            return delta
        if self.ids or not offered or len(self.held) > _LONGEST_HELD or not may_become_a_call(self.held):
            return self._release(delta)
        if not last:
            return {key: value for key, value in delta.items() if key != "content"}
        found = calls_in(self.held, offered)
        if found is None:
            return self._release(delta)
        self.held, self.holds = "", False
        return self.calls({
            **{key: value for key, value in delta.items() if key != "content"},
            "tool_calls": [{"function": function} for function in found],
        })  # fmt: skip

    def _release(self, delta: Fields) -> Fields:
        held, self.held, self.holds = self.held, "", False
        return delta if delta.get("content") == held else {**delta, "content": held}


def _message(message: Fields, offered: frozenset[str]) -> Fields:
    fixed = _with_calls(message)
    calls = fixed.get("tool_calls")
    if isinstance(calls, list) and calls:
        whole = [_whole(call) if isinstance(call, dict) else call for call in calls]
        return fixed if whole == calls else {**fixed, "tool_calls": whole}
    said = message.get("content")
    found = calls_in(said, offered) if isinstance(said, str) and said else None
    if found is None:
        return fixed
    return {**message, "content": None, "tool_calls": [_whole({"function": function}) for function in found]}


def _whole(call: Fields) -> Fields:
    function = _object(call.get("function"))
    arguments = _text_of(function.get("arguments")) or "{}"
    return {
        **call, "id": str(call.get("id") or _new_id()), "type": call.get("type") or "function",
        "function": {**function, "arguments": arguments},
    }  # fmt: skip


def _with_calls(message: Fields) -> Fields:
    """The older `function_call` as the one call of `tool_calls`."""
    old = message.get("function_call")
    if not isinstance(old, dict) or message.get("tool_calls"):
        return message
    kept = {key: value for key, value in message.items() if key != "function_call"}
    return {**kept, "tool_calls": [{"index": 0, "function": old}]}


def _text_of(arguments: Any) -> str:
    """Arguments as JSON text; a dictionary in Python's words is understood."""
    if arguments is None:
        return ""
    if not isinstance(arguments, str):
        return json.dumps(arguments)
    if arguments.startswith("{'"):
        try:
            value = ast.literal_eval(arguments)
            return json.dumps(value) if isinstance(value, dict) else arguments
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return arguments
    return arguments


def _object(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"
