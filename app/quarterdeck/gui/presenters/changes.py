"""What was changed in a request on its way, in words."""

from __future__ import annotations

from typing import NamedTuple

from quarterdeck.schemas.requests import RequestView

_APPLIED = {
    "alt-text": "Pictures were replaced by their descriptions",
    "alternate-roles": "Messages of one role were joined",
    "cut-reasoning-history": "Earlier messages were left out",
    "cut-vision-history": "Earlier messages were left out",
    "developer-role": "The developer role became the system role",
    "downscale-pictures": "Pictures were made smaller",
    "emulate-streaming": "The stream was made here from a whole answer",
    "fetch-pictures": "Pictures were fetched from their addresses",
    "fold-system": "The system message was folded into the first message",
    "max-completion-tokens": "The token limit was renamed to max_completion_tokens",
    "max-tokens": "The token limit was renamed to max_tokens",
    "num-ctx": "The context length of the model was kept",
    "probe answered": "Answered here, as it only tried the connection",
    "repair-tools": "A tool call was repaired",
    "speech from the cache": "The speech came from the cache",
    "strip-tools": "Tools were left out",
    "system-prompt": "The saved system prompt was put in front",
}
_SAVED = {"default": "“{}” was filled in", "override": "“{}” was replaced by the saved value"}


class Remark(NamedTuple):
    """A heading and what stands under it."""

    heading: str
    items: tuple[str, ...]


def applied(name: str) -> str:
    """A change that was made, as a sentence without its full stop."""
    kind, _, parameter = name.partition(":")
    if parameter and kind in _SAVED:
        return _SAVED[kind].format(parameter)
    return _APPLIED.get(name, name.replace("-", " ").replace("_", " "))


def remarks(view: RequestView) -> list[Remark]:
    """What was doubtful, what could not be carried, and what was adapted."""
    lists = (
        ("Please note", tuple(view.warnings)),
        ("Left out", tuple(f"“{name}”, which the backend does not know" for name in view.dropped)),
        ("Adapted", tuple(dict.fromkeys(map(applied, view.applied)))),
    )
    return [Remark(heading, items) for heading, items in lists if items]
