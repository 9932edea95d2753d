"""One context for all clients of a model at Ollama.

Ollama loads a model again for every request that names another `num_ctx`, and cuts a prompt that is too long without a
word. So a client's own wish does not count, and a prompt that may be cut is told of.
"""

from __future__ import annotations

from quarterdeck.proxy.mitigations.contents import has_pictures, texts_of
from quarterdeck.proxy.mitigations.draft import Draft
from quarterdeck.proxy.mitigations.traits import options_of
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation

NUM_CTX = "num_ctx"
_SIGNS_PER_TOKEN = 4
_SIGNS_PER_MESSAGE = 16


def guard_context(draft: Draft, view: ModelView) -> None:
    """Put the model's own context in place of the one that the client wishes for."""
    loaded = _whole(options_of(view).get(NUM_CTX))
    fixed = view.client_policy.num_ctx or loaded
    wished = draft.fields.get(NUM_CTX)
    if wished is not None and wished != fixed:
        draft.applied("num-ctx")
        own = f"{fixed} tokens" if fixed else "Ollama's own"
        draft.warn(f"num_ctx {wished} was left out: the context of “{view.name}” is {own}, for all clients.")
    if fixed is not None and fixed != loaded:
        if wished != fixed:
            draft.put(NUM_CTX, fixed)
    else:
        # The model is loaded as a variant that has its context inside.
        draft.drop(NUM_CTX)


def warn_of_cutting(draft: Draft, view: ModelView) -> None:
    """Tell when the prompt is likely to be longer than the context, of which Ollama says nothing."""
    context = view.client_policy.num_ctx or _whole(options_of(view).get(NUM_CTX))
    if context is None or draft.result.asked.operation is not Operation.CHAT:
        return
    signs = sum(map(len, texts_of(draft.messages))) + _SIGNS_PER_MESSAGE * len(draft.messages)
    tokens = signs // _SIGNS_PER_TOKEN
    if tokens > context:
        about = "more than " if has_pictures(draft.messages) else "about "
        draft.warn(
            f"The prompt has {about}{tokens} tokens and the context of “{view.name}” {context}: Ollama cuts the "
            "oldest messages."
        )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
