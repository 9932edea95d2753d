"""What a request needs of its model, and whether the model is known to lack it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked, Fields
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ModelView, Status
from quarterdeck.schemas.requests import Operation, ToolPolicy

CHAT = "chat"
VISION = "vision"
TOOLS = "tools"
EMBEDDINGS = "embeddings"
RERANK = "rerank"
AUDIO = "audio"
IMAGES = "images"
CONTEXT = "context"

NEEDS = (CHAT, VISION, TOOLS, EMBEDDINGS, RERANK, AUDIO, IMAGES)
"""All words that `needs` knows."""

MOST_NAMED = 10
SIGNS_PER_TOKEN = 8
"""More signs than a token has on average in any language, so that a prompt is never thought longer than it is."""

_OF_OPERATION = {
    Operation.CHAT: frozenset({CHAT}), Operation.COMPLETION: frozenset({CHAT}),
    Operation.EMBEDDINGS: frozenset({EMBEDDINGS}), Operation.RERANK: frozenset({RERANK}),
    Operation.SPEECH: frozenset({AUDIO}), Operation.TRANSCRIPTION: frozenset({AUDIO}),
    Operation.IMAGES: frozenset({IMAGES}),
}  # fmt: skip
_WORDS = {
    CHAT: "write text", VISION: "read pictures", TOOLS: "use tools", EMBEDDINGS: "make embeddings", RERANK: "rerank",
    AUDIO: "speak or listen", IMAGES: "make pictures", CONTEXT: "take a prompt of this length",
}  # fmt: skip
_PICTURES = frozenset({"image_url", "input_image", "image"})
_NO_TEXT = frozenset({EMBEDDINGS, RERANK, AUDIO, IMAGES})
_LLAMA_CPP = (BackendKind.EMBEDDED, BackendKind.LLAMA_SERVER)
_CONTEXT_OPTIONS = ("n_ctx", "ctx_size", "max_model_len", "context_length")


def needs(asked: Asked) -> frozenset[str]:
    """What the request needs of a model, in the words of ModelView.capabilities."""
    found = _OF_OPERATION[asked.operation]
    if asked.operation is Operation.CHAT:
        if has_tools(asked.fields):
            found |= {TOOLS}
        if any(True for _ in pictures(asked.fields)):
            found |= {VISION}
    return found


def has_tools(fields: Fields) -> bool:
    """Whether a chat offers tools that may be called."""
    return bool(fields.get("tools") or fields.get("functions")) and fields.get("tool_choice") != "none"


def pictures(fields: Fields) -> Iterable[Mapping[str, Any]]:
    """The parts of a chat that are pictures."""
    messages = fields.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict) and part.get("type") in _PICTURES)


def able(view: ModelView, need: str) -> bool | None:
    """Whether the model can do what `need` names; None where that is not known."""
    said = view.capabilities
    if need in said:
        return True
    judge = _JUDGES.get(need)
    return None if judge is None else judge(view, said)


def check(
    view: ModelView, needed: frozenset[str], asked: Asked, catalog_views: Callable[[], Iterable[ModelView]]
) -> None:
    """Refuse a request that the model is known to be unable to answer; what is not known is left to the backend.

    Raises AppError `capability_mismatch` (409); `details` has `missing`, and in `models` the names of those that can.
    Tools are refused only where the model's policy says so or the request insists on a call, and pictures only where
    one has no text to stand for it: else the request can be changed so that it works.
    """
    missing = [need for need in needed if able(view, need) is False and not _can_be_mended(need, view, asked)]
    tokens = 0
    if not missing and (context := context_of(view)) is not None:
        tokens = least_tokens(asked)
        if tokens > context:
            missing = [CONTEXT]
    if missing:
        raise _mismatch(view, sorted(missing), needed, tokens, catalog_views())


def context_of(view: ModelView) -> int | None:
    """Tokens that a prompt may certainly not exceed; None where that is not known, or where the engine cuts it."""
    if view.backend == BackendKind.OLLAMA:
        return None
    config = _config(view.load_config)
    chosen = next((config[name] for name in _CONTEXT_OPTIONS if name in config), None)
    return chosen if isinstance(chosen, int) and chosen > 0 else view.context_length


def least_tokens(asked: Asked) -> int:
    """The fewest tokens that the prompt can have; of several prompts in one request, those of the longest."""
    fields = asked.fields
    if asked.operation is Operation.CHAT:
        messages = fields.get("messages")
        said = messages if isinstance(messages, list) else []
        return sum(_signs(message) for message in said if isinstance(message, dict)) // SIGNS_PER_TOKEN
    prompt = fields.get("prompt" if asked.operation is Operation.COMPLETION else "input")
    if isinstance(prompt, list) and prompt:
        if all(isinstance(each, int) for each in prompt):
            return len(prompt)
        return max(len(each) if isinstance(each, list) else _length(each) // SIGNS_PER_TOKEN for each in prompt)
    return _length(prompt) // SIGNS_PER_TOKEN


def _signs(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, list):
        return sum(_length(part.get("text")) for part in content if isinstance(part, dict))
    return _length(content)


def _length(text: object) -> int:
    return len(text) if isinstance(text, str) else 0


def _can_be_mended(need: str, view: ModelView, asked: Asked) -> bool:
    if need == TOOLS:
        policy = view.client_policy.tools
        choice = asked.fields.get("tool_choice")
        insists = (
            choice == "required" or isinstance(choice, dict) or isinstance(asked.fields.get("function_call"), dict)
        )
        return policy is ToolPolicy.KEEP or (policy is not ToolPolicy.REFUSE and not insists)
    return need == VISION and all(part.get("alt_text") for part in pictures(asked.fields))


def _writes(_view: ModelView, said: list[str]) -> bool | None:
    return False if said and _NO_TEXT.issuperset(said) else None


def _sees(view: ModelView, said: list[str]) -> bool | None:
    if view.backend in _LLAMA_CPP and view.path is not None:
        return "mmproj" in _config(view.load_config)
    knows = view.backend == BackendKind.OLLAMA or (view.path is not None and view.format == "safetensors")
    return False if _is_decided(view) or (knows and said) else None


def _calls(view: ModelView, said: list[str]) -> bool | None:
    if _is_decided(view):
        return False
    if view.backend == BackendKind.VLLM and view.url is None:
        return "tool_call_parser" in _config(view.load_config)
    return False if view.backend == BackendKind.OLLAMA and said else None


def _embeds(view: ModelView, said: list[str]) -> bool | None:
    config = _config(view.load_config)
    if view.backend in _LLAMA_CPP and view.path is not None:
        wanted = config.get("embeddings", config.get("embedding", view.backend == BackendKind.EMBEDDED))
        return bool(wanted)
    if view.backend == BackendKind.VLLM and {"runner", "convert", "task"} & config.keys():
        return None
    knows = _is_decided(view) or view.backend == BackendKind.OPENAI_COMPATIBLE or view.path is not None
    return False if knows and CHAT in said else None


def _ranks(view: ModelView, said: list[str]) -> bool | None:
    config = _config(view.load_config)
    if config.get("reranking") or config.get("rerank") or config.get("pooling") == "rank":
        return True
    return None if EMBEDDINGS in said else _other(view, said)


def _other(view: ModelView, said: list[str]) -> bool | None:
    """Of a capability that only special models have, and those say so."""
    return None if not said or view.backend == BackendKind.LITELLM else False


def _is_decided(view: ModelView) -> bool:
    """Whether a person said what the model can do. A gateway's configuration says less than its models can."""
    return view.layers.get("capabilities") == "curated" and view.backend != BackendKind.LITELLM


_JUDGES: dict[str, Callable[[ModelView, list[str]], bool | None]] = {
    CHAT: _writes, VISION: _sees, TOOLS: _calls, EMBEDDINGS: _embeds, RERANK: _ranks, AUDIO: _other, IMAGES: _other,
}  # fmt: skip


@lru_cache(maxsize=1024)
def _config(text: str) -> Mapping[str, Any]:
    """A load_config as it is stored; read once."""
    return parse_load_config(text)


def cannot(view: ModelView, missing: Iterable[str]) -> str:
    """A sentence that says what the model lacks."""
    return f"“{view.name}” cannot {_in_words(missing)}."


def _in_words(missing: Iterable[str]) -> str:
    return " or ".join(_WORDS.get(need, need) for need in sorted(missing))


def _mismatch(
    view: ModelView, missing: list[str], needed: frozenset[str], tokens: int, others: Iterable[ModelView]
) -> AppError:
    able_ones = [each for each in others if _may_stand_in(each, view, needed, tokens)]
    able_ones.sort(key=lambda each: (not each.loaded, each.name))
    names = [each.name for each in able_ones[:MOST_NAMED]]
    sentence = cannot(view, missing)
    if tokens:
        sentence = f"The prompt has at least {tokens} tokens, and “{view.name}” takes {context_of(view)}."
    hint = f"Ask one of these instead: {', '.join(names)}." if names else f"Add a model that can {_in_words(missing)}."
    return AppError("capability_mismatch", sentence, hint, status=409, details={"missing": missing, "models": names})


def _may_stand_in(view: ModelView, instead_of: ModelView, needed: frozenset[str], tokens: int) -> bool:
    """Whether the model is known to be able. That it writes text is believed, as it is of nearly every model."""
    if view.name == instead_of.name or view.hidden is not None or view.status is Status.INCOMPATIBLE:
        return False
    if tokens and (context_of(view) or 0) < tokens:
        return False
    return all(able(view, need) or (need == CHAT and able(view, CHAT) is None) for need in needed)
