"""Parameters of requests: what a model's policy fills in, and the names under which servers know them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quarterdeck.backends.addresses import host_of
from quarterdeck.errors import AppError
from quarterdeck.proxy.mitigations.draft import Draft
from quarterdeck.proxy.mitigations.roles import DEVELOPER, SYSTEM
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import ClientPolicy, Operation

SYSTEM_PROMPT = "system_prompt"
_WRITING = frozenset((Operation.CHAT, Operation.COMPLETION))
_LIMITS = ("max_tokens", "max_completion_tokens")

# What makes a request the one it is; a saved value in its place would answer something else.
_NOT_SAVED = frozenset(
    ("model", "messages", "prompt", "input", "stream", "stream_options", "tools", "functions", "documents", "query",
     "n")
)  # fmt: skip

_OTHER_OPERATIONS = {
    Operation.SPEECH: frozenset(("voice", "speed", "response_format", "instructions")),
    Operation.IMAGES: frozenset(("size", "quality", "style", "response_format", "background")),
    Operation.EMBEDDINGS: frozenset(("dimensions", "keep_alive", "num_ctx")),
    Operation.TRANSCRIPTION: frozenset(("language", "temperature", "response_format")),
    Operation.RERANK: frozenset(("top_n",)),
}
_ONLY_OTHERS = frozenset(("voice", "speed", "instructions", "size", "quality", "style", "background", "language"))
_SPEECH_FORMATS = frozenset(("mp3", "opus", "aac", "flac", "wav", "pcm"))

_REASONING = re.compile(r"(^|/)(o[1-9]|gpt-5)")
_OPENAI_HOSTS = (".openai.com", ".azure.com", ".azure.us", ".azure.cn")


def check_policy(policy: ClientPolicy) -> None:
    """Raises AppError `bad_policy` (400) for a saved value that would change what is asked for."""
    wrong = sorted(_NOT_SAVED & policy.defaults.keys())
    if wrong:
        raise AppError(
            "bad_policy",
            f"“{wrong[0]}” cannot be saved for a model: it is what a request is about.",
            "Save parameters such as temperature, top_p, max_tokens or stop.",
        )
    empty = [name for name in policy.override if name not in policy.defaults and name != SYSTEM_PROMPT]
    if empty or (SYSTEM_PROMPT in policy.override and not policy.system_prompt):
        raise AppError(
            "bad_policy",
            f"“{empty[0] if empty else SYSTEM_PROMPT}” shall win over requests, but no value is saved for it.",
            "Save a value, or take the name out of “override”.",
        )


def fill_in(draft: Draft, policy: ClientPolicy) -> None:
    """Saved parameters where the request has none, or in place of its own. Raises AppError `bad_policy`."""
    check_policy(policy)
    operation = draft.result.asked.operation
    for name, value in policy.defaults.items():
        if not _fits(name, value, operation):
            continue
        wins = name in policy.override
        present = [each for each in (_LIMITS if name in _LIMITS else (name,)) if draft.fields.get(each) is not None]
        if present and (not wins or draft.fields[present[0]] == value):
            continue
        draft.drop(*present)
        draft.put(name, value)
        draft.applied(f"{'override' if present else 'default'}:{name}")


def add_system_prompt(draft: Draft, policy: ClientPolicy) -> None:
    """The saved system prompt, for a chat that has none; or in place of its own."""
    prompt = policy.system_prompt
    has_own = any(message["role"] in (SYSTEM, DEVELOPER) for message in draft.messages)
    if not prompt or (has_own and SYSTEM_PROMPT not in policy.override):
        return
    others = [message for message in draft.messages if message["role"] not in (SYSTEM, DEVELOPER)]
    draft.put("messages", [{"role": SYSTEM, "content": prompt}, *others])
    draft.applied("system-prompt")


def name_token_limit(draft: Draft, view: ModelView) -> None:
    """The limit of an answer under the one name that the server knows.

    OpenAI's reasoning models refuse `max_tokens`; most other servers pass over `max_completion_tokens`.
    """
    present = [name for name in _LIMITS if name in draft.fields]
    if not present:
        return
    reasons = view.backend == BackendKind.OPENAI_COMPATIBLE and _REASONING.search(view.served_name) is not None
    if not reasons and _is_openai(view):
        return
    wanted, other = reversed(_LIMITS) if reasons else _LIMITS
    if other not in present:
        return
    value = draft.fields[_LIMITS[1] if draft.fields.get(_LIMITS[1]) is not None else _LIMITS[0]]
    draft.drop(other)
    draft.put(wanted, value)
    draft.applied(wanted.replace("_", "-"))


def read_logit_bias(draft: Draft) -> None:
    """A bias written as `id:bias,id:bias` as the object that servers want."""
    text = draft.fields.get("logit_bias")
    if not isinstance(text, str):
        return
    try:
        bias = dict(_pairs(text.split(",")))
    except ValueError:
        raise AppError(
            "invalid_request", "The field “logit_bias” is neither an object nor a text such as 50256:-100.",
            details={"param": "logit_bias"},
        ) from None  # fmt: skip
    draft.put("logit_bias", bias)


def _pairs(texts: Iterable[str]) -> Iterable[tuple[str, float]]:
    for text in texts:
        if text.strip():
            token, _, bias = text.partition(":")
            yield str(int(token)), max(-100.0, min(100.0, float(bias)))


def _fits(name: str, value: object, operation: Operation) -> bool:
    """Whether a saved parameter means something to an operation; `response_format` is of several kinds."""
    if operation in _WRITING:
        return name not in _ONLY_OTHERS and not (name == "response_format" and isinstance(value, str))
    if name == "response_format" and operation is Operation.SPEECH:
        return isinstance(value, str) and value in _SPEECH_FORMATS
    return name in _OTHER_OPERATIONS[operation] and not isinstance(value, dict)


def _is_openai(view: ModelView) -> bool:
    return view.url is not None and f".{host_of(view.url)}".endswith(_OPENAI_HOSTS)
