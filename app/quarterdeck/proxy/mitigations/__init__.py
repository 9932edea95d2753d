"""Changes to requests and answers that make known faults of models and backends vanish; each can be switched."""

from __future__ import annotations

import aiohttp

from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.mitigations import context, parameters, pictures, roles, switches, tools
from quarterdeck.proxy.mitigations.contents import has_pictures
from quarterdeck.proxy.mitigations.describe import Described, describe
from quarterdeck.proxy.mitigations.draft import Draft
from quarterdeck.proxy.mitigations.fetching import Fetcher
from quarterdeck.proxy.mitigations.history import newest_turns
from quarterdeck.proxy.mitigations.parameters import check_policy
from quarterdeck.proxy.mitigations.repair import AnswerRepair, ChunkRepair
from quarterdeck.proxy.mitigations.result import Mitigated
from quarterdeck.proxy.mitigations.traits import Traits, learn, traits_of
from quarterdeck.proxy.routing import capabilities
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import Operation
from quarterdeck.settings import Settings

__all__ = ["Described", "Mitigated", "check_policy", "describe", "learn", "mitigate"]

_WRITING = frozenset((Operation.CHAT, Operation.COMPLETION))


async def mitigate(asked: Asked, view: ModelView, *, settings: Settings, http: aiohttp.ClientSession) -> Mitigated:
    """The request as the model can take it. The request that came in is never changed.

    Raises AppError for what cannot be mended: a picture that is too large (413) or cannot be fetched (400), tools
    that the model cannot use and that the request insists on (409), a policy that cannot be followed (400).
    """
    draft = Draft(asked)
    policy = view.client_policy
    if policy.defaults or policy.override:
        parameters.fill_in(draft, policy)
    if asked.operation in _WRITING:
        if policy.token_limit_name is not False:
            parameters.name_token_limit(draft, view)
        parameters.read_logit_bias(draft)
        draft.result.whole = asked.stream and switches.emulates_streaming(view)
        if draft.result.whole:
            draft.applied("emulate-streaming")
    if asked.operation is Operation.CHAT:
        traits = await traits_of(view)
        if policy.system_prompt:
            parameters.add_system_prompt(draft, policy)
        tools.mind_tools(draft, view, traits)
        await _mend_messages(draft, view, traits, settings, http)
        _mend_answers(draft, view, settings)
    if switches.guards_context(view):
        context.guard_context(draft, view)
        context.warn_of_cutting(draft, view)
    return draft.result


async def _mend_messages(
    draft: Draft, view: ModelView, traits: Traits, settings: Settings, http: aiohttp.ClientSession
) -> None:
    if has_pictures(draft.messages):
        await _mend_pictures(draft, view, settings, http)
    elif switches.cuts_reasoning_history(view, settings):
        _shorten(draft, "cut-reasoning-history", settings.reasoning_keep_turns, settings.reasoning_keep_system)
    _mend_roles(draft, view, traits)


async def _mend_pictures(draft: Draft, view: ModelView, settings: Settings, http: aiohttp.ClientSession) -> None:
    if capabilities.able(view, capabilities.VISION) is False and pictures.in_words(draft):
        draft.applied("alt-text")
        draft.warn(f"“{view.name}” cannot see pictures: it was given their texts.")
        return
    if switches.cuts_vision_history(view, settings):
        _shorten(draft, "cut-vision-history", settings.vision_keep_turns, settings.vision_keep_system)
    if switches.fetches_pictures(view, settings):
        fetcher = Fetcher(http, most_bytes=settings.max_image_bytes, allowed=settings.image_hosts)
        if await pictures.change_pictures(draft, fetcher):
            draft.applied("fetch-pictures")
    if switches.scales_pictures(view, settings):
        smaller = pictures.Smaller(settings.max_image_edge, settings.image_quality)
        if await pictures.change_pictures(draft, smaller):
            draft.applied("downscale-pictures")
    pictures.check_sizes(draft, settings.max_image_bytes)


def _shorten(draft: Draft, name: str, turns: int, keep_system: bool) -> None:
    before = len(draft.messages)
    kept = newest_turns(draft.messages, turns=turns, keep_system=keep_system)
    if len(kept) < before:
        draft.put("messages", kept)
        draft.applied(name)
        draft.warn(f"{before - len(kept)} earlier messages were left out.")


def _mend_roles(draft: Draft, view: ModelView, traits: Traits) -> None:
    has_developer = any(message["role"] == roles.DEVELOPER for message in draft.messages)
    if has_developer and switches.renames_developer(view):
        draft.put("messages", roles.without_developer(draft.messages))
        draft.applied("developer-role")
    if switches.folds_system(view, traits):
        keep_first = traits.system_first and not traits.no_system
        _put_if_other(draft, "fold-system", roles.fold_system(draft.messages, keep_first=keep_first))
    if switches.alternates(view, traits):
        _put_if_other(draft, "alternate-roles", roles.alternate(draft.messages, tools=traits.turns_with_tools))


def _put_if_other(draft: Draft, name: str, messages: list[dict[str, object]]) -> None:
    if messages != draft.messages:
        draft.put("messages", messages)
        draft.applied(name)


def _mend_answers(draft: Draft, view: ModelView, settings: Settings) -> None:
    offered = tools.offered(draft)
    if not offered or not switches.repairs_tools(view, settings):
        return
    named = isinstance(draft.fields.get("tool_choice"), dict)

    def tell() -> None:
        draft.applied("repair-tools")

    draft.result.repair = AnswerRepair(offered, named, tell)
    if draft.result.asked.stream:
        draft.result.repair_chunk = ChunkRepair(offered, named=named, tell=tell)
