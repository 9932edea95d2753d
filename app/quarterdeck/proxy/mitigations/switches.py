"""Whether each mitigation is on for a model: what its policy says, else the settings, else what the model needs."""

from __future__ import annotations

from quarterdeck.proxy.mitigations.traits import LOCAL_ENGINES, Traits
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView
from quarterdeck.settings import Settings

_FETCHED_FOR = LOCAL_ENGINES | {BackendKind.OLLAMA}
_REASONS = frozenset(("thinking", "reasoning"))
_STREAMS_BADLY = "optillm"


def folds_system(view: ModelView, traits: Traits) -> bool:
    chosen = view.client_policy.fold_system
    return traits.no_system or traits.system_first if chosen is None else chosen


def alternates(view: ModelView, traits: Traits) -> bool:
    chosen = view.client_policy.alternate_roles
    return traits.turns if chosen is None else chosen


def renames_developer(view: ModelView) -> bool:
    """Whether the role “developer” would be lost. Models of the gpt-oss family know it."""
    if view.client_policy.alternate_roles is False or view.backend not in _FETCHED_FOR:
        return False
    return "gpt-oss" not in view.name.casefold() and (view.architecture or "").replace("_", "-") not in (
        "gpt-oss", "gptoss",
    )  # fmt: skip


def cuts_vision_history(view: ModelView, settings: Settings) -> bool:
    chosen = view.client_policy.cut_vision_history
    return settings.vision_truncate_history if chosen is None else chosen


def cuts_reasoning_history(view: ModelView, settings: Settings) -> bool:
    chosen = view.client_policy.cut_reasoning_history
    if chosen is not None:
        return chosen
    return settings.reasoning_truncate_history and not _REASONS.isdisjoint(view.capabilities)


def fetches_pictures(view: ModelView, settings: Settings) -> bool:
    """Engines on this machine get pictures from us: some cannot fetch them, and others would fetch from anywhere."""
    return settings.fetch_images and view.backend in _FETCHED_FOR


def scales_pictures(view: ModelView, settings: Settings) -> bool:
    chosen = view.client_policy.downscale_images
    return settings.downscale_images and view.backend in settings.downscale_backends if chosen is None else chosen


def guards_context(view: ModelView) -> bool:
    return view.backend == BackendKind.OLLAMA and view.client_policy.guard_context is not False


def emulates_streaming(view: ModelView) -> bool:
    """OptiLLM writes a whole answer and sends it in a form that clients cannot read as a stream."""
    chosen = view.client_policy.emulate_streaming
    if chosen is not None:
        return chosen
    return view.backend == BackendKind.OPENAI_COMPATIBLE and _STREAMS_BADLY in f"{view.url} {view.source}".casefold()


def repairs_tools(view: ModelView, settings: Settings) -> bool:
    chosen = view.client_policy.normalise_tools
    return settings.normalise_tools if chosen is None else chosen
