"""What is changed in the requests for a model, for people."""

from __future__ import annotations

from typing import NamedTuple

from quarterdeck.proxy.mitigations import switches
from quarterdeck.proxy.mitigations.traits import traits_of
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import ToolPolicy
from quarterdeck.settings import Settings


class Described(NamedTuple):
    """One mitigation: what it is called, what it does, and whether it is on for the model."""

    title: str
    sentence: str
    on: bool


_TOOLS = {
    ToolPolicy.REFUSE: "A request with tools is refused when the model cannot use them.",
    ToolPolicy.STRIP: "Tools that the model cannot use are left out of requests.",
    ToolPolicy.KEEP: "Tools are sent on even if the model cannot use them.",
}


async def describe(view: ModelView, settings: Settings) -> list[Described]:
    """All mitigations, in the order in which they are applied."""
    policy, traits = view.client_policy, await traits_of(view)
    saved = ", ".join(sorted(policy.defaults))
    return [
        Described("System prompt", "Chats without one get the saved system prompt.", bool(policy.system_prompt)),
        Described("Saved parameters", f"Filled in where a request has none: {saved or 'none'}.", bool(saved)),
        Described(
            "Name of the token limit", "max_tokens and max_completion_tokens become what the server knows.",
            policy.token_limit_name is not False,
        ),
        Described("Tools", _TOOLS[policy.tools or ToolPolicy.STRIP], policy.tools is not ToolPolicy.KEEP),
        Described(
            "Shorten picture conversations", "Only the newest turns of a conversation with pictures are sent.",
            switches.cuts_vision_history(view, settings),
        ),
        Described(
            "Shorten reasoning conversations", "Only the newest turns are sent to a model that reasons.",
            switches.cuts_reasoning_history(view, settings),
        ),
        Described(
            "Fetch pictures", "Pictures that are named by their address are fetched.",
            switches.fetches_pictures(view, settings),
        ),
        Described(
            "Make pictures smaller", f"The longer edge of pictures is scaled down to {settings.max_image_edge} pixels.",
            switches.scales_pictures(view, settings),
        ),
        Described(
            "Fold the system role", "System messages become a part of what the user says.",
            switches.folds_system(view, traits),
        ),
        Described(
            "Alternate roles", "Messages of one role that follow each other become one.",
            switches.alternates(view, traits),
        ),
        Described(
            "One context for all", "The context of the model does not change with the wishes of clients.",
            switches.guards_context(view),
        ),
        Described(
            "Emulate streaming", "The server is asked for a whole answer, and clients get it as a stream.",
            switches.emulates_streaming(view),
        ),
        Described(
            "Repair tool calls", "Calls of tools get an id, an index and arguments as JSON; calls written as text "
            "are recognised.",
            switches.repairs_tools(view, settings),
        ),
    ]  # fmt: skip
