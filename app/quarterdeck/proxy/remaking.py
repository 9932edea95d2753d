"""Makes a stream out of a whole answer, for clients that want one from a backend that gives none."""

from __future__ import annotations

from collections.abc import Iterator

from quarterdeck.proxy.dialects.base import Fields

_CHAT = "chat.completion.chunk"


def chunks_of(answer: Fields) -> Iterator[Fields]:
    """The chunks in which `answer`, a chat.completion or a text_completion of the hub, might have come."""
    choices = answer.get("choices") or []
    about = {key: value for key, value in answer.items() if key not in ("choices", "usage", "object")}
    for choice in choices:
        chat = "message" in choice
        head = {**about, "object": _CHAT if chat else "text_completion"}
        first: Fields = {"delta": _delta(choice["message"])} if chat else {"text": choice.get("text", "")}
        last: Fields = {"delta": {}} if chat else {"text": ""}
        same = {"index": choice.get("index", 0)}
        logprobs = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
        yield {**head, "choices": [{**same, **first, **logprobs, "finish_reason": None}]}
        yield {**head, "choices": [{**same, **last, "finish_reason": choice.get("finish_reason") or "stop"}]}
    if answer.get("usage"):
        yield {**about, "object": _CHAT, "choices": [], "usage": answer["usage"]}


def _delta(message: Fields) -> Fields:
    calls = message.get("tool_calls")
    if not calls:
        return {"role": "assistant", **message}
    numbered = [{"index": number, **call} for number, call in enumerate(calls)]
    return {"role": "assistant", **message, "tool_calls": numbered}
