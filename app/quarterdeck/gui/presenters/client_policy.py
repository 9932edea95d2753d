"""How requests for one model are treated, as a person edits it."""

from __future__ import annotations

from typing import NamedTuple

from quarterdeck.errors import ConfigError
from quarterdeck.schemas.jsontext import parse_object, to_text
from quarterdeck.schemas.requests import ClientPolicy, ToolPolicy


class Switch(NamedTuple):
    """A mitigation: the field of ClientPolicy, its name for people, and what it does."""

    field: str
    title: str
    about: str


SWITCHES = (
    Switch("fold_system", "Fold the system role",
           "Put it before the first message of the user, for models that refuse it, such as Gemma 2."),
    Switch("alternate_roles", "Alternate roles",
           "Join messages of one role that follow each other, for templates that want user and assistant in turn."),
    Switch("normalise_tools", "Repair tool calls",
           "Give tool calls in answers an id, an index and arguments as JSON text."),
    Switch("guard_context", "One context for all",
           "At Ollama, one context length for all clients, so that none of them makes it load the model again."),
    Switch("emulate_streaming", "Emulate streaming",
           "Ask for the whole answer and stream it to the client, for backends that stream badly."),
    Switch("token_limit_name", "Name of the token limit",
           "Use max_tokens or max_completion_tokens, whichever the backend knows."),
    Switch("cut_vision_history", "Shorten picture conversations", "Send only the newest turns with pictures."),
    Switch("cut_reasoning_history", "Shorten reasoning conversations", "Send only the newest turns."),
    Switch("downscale_images", "Make pictures smaller", "Scale them down before they are sent."),
)  # fmt: skip
CHOICES: tuple[tuple[str, bool | None], ...] = (("Where needed", None), ("Always", True), ("Never", False))
TOOL_CHOICES: tuple[tuple[str, ToolPolicy | None], ...] = (
    ("As needed", None), ("Refuse requests", ToolPolicy.REFUSE), ("Leave them out", ToolPolicy.STRIP),
    ("Send them anyway", ToolPolicy.KEEP),
)  # fmt: skip


class ClientDraft(NamedTuple):
    """The form as it stands: `policy` without its defaults, which are JSON text while they are written."""

    policy: ClientPolicy
    defaults: str


def draft(policy: ClientPolicy) -> ClientDraft:
    return ClientDraft(policy.model_copy(update={"defaults": {}}), to_text(policy.defaults))


def policy_of(edited: ClientDraft) -> ClientPolicy:
    """What is meant. Raises ConfigError when the defaults are not a JSON object."""
    return edited.policy.model_copy(update={"defaults": parse_object(edited.defaults)})


def differs(edited: ClientDraft, policy: ClientPolicy) -> bool:
    """Whether there is something to save; text that cannot be read counts."""
    try:
        return policy_of(edited) != policy
    except ConfigError:
        return True
