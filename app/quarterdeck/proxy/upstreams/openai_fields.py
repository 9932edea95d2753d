"""What is known of the fields of OpenAI's requests, for saying which of them are lost."""

from __future__ import annotations

NO_EFFECT = frozenset(
    ("user", "metadata", "store", "service_tier", "stream", "stream_options", "safety_identifier", "prompt_cache_key",
     "prompt_cache_retention")
)  # fmt: skip
"""Fields that change nothing in what a model answers: nobody misses them."""

_SAYS_NOTHING: dict[str, object] = {
    "n": 1, "best_of": 1, "echo": False, "logprobs": False, "parallel_tool_calls": True, "logit_bias": {}, "suffix": "",
    "tool_choice": "auto", "function_call": "auto", "encoding_format": "float", "tools": [], "functions": [],
    "frequency_penalty": 0, "presence_penalty": 0, "modalities": ["text"], "top_logprobs": 0,
    "chat_template_kwargs": {},
}  # fmt: skip


def changes_nothing(name: str, value: object) -> bool:
    """Whether the field says no more than leaving it out would."""
    return value is None or (name in _SAYS_NOTHING and _SAYS_NOTHING[name] == value)
