"""Tools for a model that cannot use them: left out, or refused, as its policy says."""

from __future__ import annotations

from quarterdeck.errors import AppError
from quarterdeck.proxy.mitigations.draft import Draft
from quarterdeck.proxy.mitigations.roles import in_words
from quarterdeck.proxy.mitigations.traits import Traits
from quarterdeck.proxy.routing import capabilities
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import ToolPolicy

STRIPPED = "strip-tools"
_OFFERING = ("tools", "functions")
_ABOUT_TOOLS = ("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls")


def mind_tools(draft: Draft, view: ModelView, traits: Traits) -> None:
    """Leave tools out that the model cannot use. Raises AppError `capability_mismatch` (409) where that is refused."""
    policy = view.client_policy.tools
    if policy is ToolPolicy.KEEP or not any(draft.fields.get(name) for name in _OFFERING):
        return
    if not traits.no_tools and capabilities.able(view, capabilities.TOOLS) is not False:
        return
    if policy is ToolPolicy.REFUSE or _insists(draft):
        raise AppError(
            "capability_mismatch",
            f"“{view.name}” cannot use tools.",
            "Ask a model that can, or send the request without tools.",
            status=409,
            details={"missing": ["tools"], "models": []},
        )
    gone = [name for name in _ABOUT_TOOLS if name in draft.fields]
    draft.drop(*gone)
    draft.put("messages", in_words(draft.messages))
    draft.tell_dropped(*gone)
    draft.applied(STRIPPED)
    draft.warn(f"“{view.name}” cannot use tools, so they were left out.")


def offered(draft: Draft) -> frozenset[str]:
    """The names of the tools that the model may call."""
    if draft.fields.get("tool_choice") == "none" or draft.fields.get("function_call") == "none":
        return frozenset()
    tools = [tool.get("function") for tool in draft.fields.get("tools") or () if isinstance(tool, dict)]
    functions = [*tools, *(draft.fields.get("functions") or ())]
    return frozenset(str(each["name"]) for each in functions if isinstance(each, dict) and each.get("name"))


def _insists(draft: Draft) -> bool:
    choice = draft.fields.get("tool_choice")
    return choice == "required" or isinstance(choice, dict) or isinstance(draft.fields.get("function_call"), dict)
