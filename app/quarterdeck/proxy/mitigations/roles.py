"""Messages as chat templates want them that know no system role, or insist that user and assistant take turns.

Both kinds refuse a whole request for one message in the wrong place: “System role not supported” and “Conversation
roles must alternate user/assistant/user/assistant/...” are what Gemma's template says.
"""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.mitigations.contents import joined, text_of

SYSTEM, USER, ASSISTANT, DEVELOPER, TOOL = "system", "user", "assistant", "developer", "tool"
_OTHER = {USER: ASSISTANT, ASSISTANT: USER}


def without_developer(messages: Sequence[Fields]) -> list[Fields]:
    """OpenAI's newer name of the system role under its usual one: most templates pass over roles they do not know."""
    return [{**message, "role": SYSTEM} if message["role"] == DEVELOPER else message for message in messages]


def fold_system(messages: Sequence[Fields], *, keep_first: bool = False) -> list[Fields]:
    """Every system message in front of the user's words that follow it; with none, it becomes the user's own.

    With `keep_first` those at the very beginning stay, as one message.
    """
    folded: list[Fields] = []
    pending: Fields | None = None
    for message in messages:
        if message["role"] == SYSTEM and keep_first and not _began(folded):
            folded = [_merged(folded[0], message) if folded else message]
        elif message["role"] == SYSTEM:
            words = {**message, "role": USER}
            pending = _merged(pending, words) if pending else words
        elif pending is not None:
            folded += [_merged(pending, message)] if message["role"] == USER else [pending, message]
            pending = None
        else:
            folded.append(message)
    return folded if pending is None else [*folded, pending]


def alternate(messages: Sequence[Fields], *, tools: bool = False) -> list[Fields]:
    """User and assistant in turns, the user first: neighbours of one role become one message, gaps are filled.

    A system message may stand in front. With `tools` the messages of tool calls stay between the turns, else they are
    told in words.
    """
    spoken = list(messages) if tools else in_words(messages)
    turns: list[Fields] = []
    last = ASSISTANT
    for message in fold_system(spoken, keep_first=True):
        role = message["role"]
        if role not in _OTHER or message.get("tool_calls"):
            turns.append(message)
        elif role != last:
            turns.append(message)
            last = role
        elif turns and turns[-1]["role"] == role and not turns[-1].get("tool_calls"):
            turns[-1] = _merged(turns[-1], message)
        else:
            turns += [{"role": _OTHER[role], "content": ""}, message]
    return turns


def in_words(messages: Sequence[Fields]) -> list[Fields]:
    """Calls of tools and their results as texts, for a model that has no tools."""
    names: dict[str, str] = {}
    spoken = []
    for message in messages:
        if message["role"] in (TOOL, "function"):
            name = message.get("name") or names.get(str(message.get("tool_call_id"))) or "the tool"
            spoken.append({"role": USER, "content": f"Result of {name}:\n{text_of(message)}"})
        elif message.get("tool_calls"):
            functions = [(call, call.get("function") or {}) for call in message["tool_calls"]]
            names |= {str(call.get("id")): str(function.get("name")) for call, function in functions}
            said = "\n".join(f"Call of {each.get('name')}: {each.get('arguments', '')}" for _, each in functions)
            kept = {key: value for key, value in message.items() if key != "tool_calls"}
            spoken.append({**kept, "content": joined(message.get("content"), said)})
        else:
            spoken.append(message)
    return spoken


def _began(messages: Sequence[Fields]) -> bool:
    """Whether anybody but the system has spoken."""
    return bool(messages) and messages[-1]["role"] != SYSTEM


def _merged(first: Fields, second: Fields) -> Fields:
    content = joined(first.get("content"), second.get("content"))
    return {**second, **first, "role": second["role"], "content": content}
