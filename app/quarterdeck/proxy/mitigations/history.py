"""Conversations made shorter: only the newest turns are sent where a long history does harm."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.proxy.dialects.base import Fields
from quarterdeck.proxy.mitigations.contents import has_pictures, parts_of, pictures_in
from quarterdeck.proxy.mitigations.roles import DEVELOPER, SYSTEM, USER

_SYSTEM = (SYSTEM, DEVELOPER)


def newest_turns(messages: Sequence[Fields], *, turns: int, keep_system: bool) -> list[Fields]:
    """The current message of the user and all after it, and `turns` turns before it.

    A turn is a message of the user with all that follows up to the next. Pictures of the newest turn that is left out
    and has some go with the current message when no message that stays has a picture.
    """
    if not any(message["role"] == USER for message in messages):
        return list(messages)
    if not keep_system:
        messages = [message for message in messages if message["role"] not in _SYSTEM]
    asks = [index for index, message in enumerate(messages) if message["role"] == USER]
    first = asks[max(0, len(asks) - 1 - turns)]
    system = [message for message in messages[:first] if message["role"] in _SYSTEM]
    old, kept = [message for message in messages[:first] if message["role"] not in _SYSTEM], list(messages[first:])
    if not has_pictures(kept):
        carried = next((found for message in reversed(old) if (found := pictures_in(message))), [])
        if carried:
            current = asks[-1] - first
            kept[current] = {**kept[current], "content": [*parts_of(kept[current]), *carried]}
    return system + kept
