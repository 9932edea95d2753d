"""What carries a fix out: one maker for each kind of fix, each with preview, change, trial and way back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from quarterdeck.diagnosis.drift.fixing import ConfigFixes
from quarterdeck.errors import AppError
from quarterdeck.mending.configs import ABSENT, changes, merged, shown
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendState
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ConfigPatch, ModelView, Phase
from quarterdeck.schemas.problems import Change, Fix, FixPreview
from quarterdeck.settings import Settings

PLACEHOLDER_KEY = "not-needed"


class Made(NamedTuple):
    """What came of a fix: told in a sentence, whether a trial worked, what was changed and how to go back."""

    sentence: str
    changes: list[Change]
    worked: bool | None = None
    back: dict[str, Any] | None = None


class Maker(Protocol):
    """Carries out one kind of fix. Every method raises AppError with what stands in its way."""

    async def preview(self, fix: Fix) -> FixPreview:
        """What would change; nothing is changed."""

    async def make(self, fix: Fix) -> Made:
        """Make the change, and try it where the fix says so."""

    async def undo(self, back: Mapping[str, Any]) -> str:
        """Take the change back that `Made.back` describes; what was done, in a sentence."""


class Trial:
    """Loads a model to see whether a change helped."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def run(self, name: str) -> tuple[bool, str]:
        """Whether the model loads now, and what came of it in a sentence."""
        with contextlib.suppress(AppError):
            await self._scheduler.unload(name)
        try:
            result = await self._scheduler.load(name, force=True)
        except AppError as error:
            return False, f"“{name}” still does not load: {error.sentence}"
        return True, f"“{name}” is loaded. Status: {result.compatibility_status}."


class LoadConfigMaker:
    """Changes entries of a model's load_config, and loads it again."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._trial = Trial(scheduler)

    async def preview(self, fix: Fix) -> FixPreview:
        view, before, after = self._plan(fix)
        busy = view.phase is Phase.LOADED
        return FixPreview(
            title=fix.title,
            changes=changes(before, after),
            consequence=_consequence(view.name, restarts=busy, retries=fix.retries),
        )

    async def make(self, fix: Fix) -> Made:
        view, before, after = self._plan(fix)
        await self._store(view, after)
        changed = changes(before, after)
        back = {"model": view.name, "before": before, "after": after}
        if not fix.retries:
            return Made(f"The load_config of “{view.name}” is changed.", changed, None, back)
        worked, sentence = await self._trial.run(view.name)
        return Made(sentence, changed, worked, back)

    async def undo(self, back: Mapping[str, Any]) -> str:
        view = self._scheduler.catalog.get(back["model"])
        if parse_load_config(view.load_config) != back["after"]:
            raise AppError(
                "changed_since",
                f"The load_config of “{view.name}” was changed again since.",
                "Change it by hand: open the model, then Configuration.",
                status=409,
            )
        await self._store(view, dict(back["before"]))
        return f"The load_config of “{view.name}” is as it was before."

    def _plan(self, fix: Fix) -> tuple[ModelView, dict[str, Any], dict[str, Any]]:
        view = self._scheduler.catalog.get(fix.target)
        backend = self._scheduler.backends[view.backend]
        before = parse_load_config(view.load_config)
        after = merged(backend.options, before, fix.patch)
        backend.check_config(after)
        return view, before, after

    async def _store(self, view: ModelView, config: dict[str, Any]) -> None:
        patch = ConfigPatch(load_config=json.dumps(config, ensure_ascii=False, indent=2))
        await self._scheduler.catalog.patch(view.name, patch)
        self._scheduler.forgive(view.name)


class LoadMaker:
    """Loads a model again as it is."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    async def preview(self, fix: Fix) -> FixPreview:
        words = f"“{fix.target}” is loaded as it is; it may end in the same way."
        return FixPreview(title=fix.title, changes=[], consequence=words, undoable=False)

    async def make(self, fix: Fix) -> Made:
        worked, sentence = await self._trial.run(fix.target)
        return Made(sentence, [], worked)

    async def undo(self, back: Mapping[str, Any]) -> str:
        raise AppError("cannot_undo", "Nothing was changed.", "Unload the model if it is not needed.", status=409)


class SettingMaker:
    """Changes one setting."""

    def __init__(
        self, current: Callable[[], Settings], change: Callable[[dict[str, Any]], Awaitable[object]], trial: Trial
    ) -> None:
        self._current = current
        self._change = change
        self._trial = trial

    async def preview(self, fix: Fix) -> FixPreview:
        return FixPreview(title=fix.title, changes=self._changes(fix.patch))

    async def make(self, fix: Fix) -> Made:
        changed = self._changes(fix.patch)
        back = {"before": {name: getattr(self._current(), name) for name in fix.patch}}
        await self._change(dict(fix.patch))
        if not fix.retries:
            return Made("The setting is changed.", changed, None, back)
        worked, sentence = await self._trial.run(fix.target)
        return Made(sentence, changed, worked, back)

    async def undo(self, back: Mapping[str, Any]) -> str:
        await self._change(dict(back["before"]))
        return "The setting is as it was before."

    def _changes(self, patch: Mapping[str, Any]) -> list[Change]:
        before = self._current().model_dump(mode="json")
        titles = {name: field.title or name for name, field in Settings.model_fields.items()}
        return [
            Change(what=titles.get(name, name), before=shown(before, name), after=shown(patch, name)) for name in patch
        ]


class MemoryMaker:
    """Unloads models that hold the memory which another one needs, and loads that one."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._trial = Trial(scheduler)

    async def preview(self, fix: Fix) -> FixPreview:
        return FixPreview(
            title=fix.title,
            changes=[Change(what=name, before="loaded", after="unloaded") for name in self._holders(fix)],
            consequence="Requests that these models are answering end with an error.",
        )

    async def make(self, fix: Fix) -> Made:
        holders = self._holders(fix)
        for name in holders:
            await self._scheduler.unload(name)
        worked, sentence = await self._trial.run(fix.target)
        changed = [Change(what=name, before="loaded", after="unloaded") for name in holders]
        return Made(sentence, changed, worked, {"models": holders})

    async def undo(self, back: Mapping[str, Any]) -> str:
        for name in back["models"]:
            await self._scheduler.load(name)
        return f"Loaded again: {', '.join(back['models'])}."

    def _holders(self, fix: Fix) -> list[str]:
        wanted = fix.patch.get("unload")
        names = [str(name) for name in wanted] if isinstance(wanted, list) else []
        return [name for name in names if name in self._scheduler.loaded]


class ServerMaker:
    """Starts or restarts a server that we may start."""

    def __init__(self, landscape: Landscape) -> None:
        self._landscape = landscape

    async def preview(self, fix: Fix) -> FixPreview:
        view = self._landscape.view(fix.target)
        change = Change(what=view.title, before=view.state.value, after="running")
        return FixPreview(title=fix.title, changes=[change], undoable=False)

    async def make(self, fix: Fix) -> Made:
        before = self._landscape.view(fix.target)
        view = await self._landscape.act(fix.target, str(fix.patch.get("action", "start")))
        change = Change(what=view.title, before=before.state.value, after=view.state.value)
        return Made(f"{view.title} is {view.state.value} now.", [change])

    async def undo(self, back: Mapping[str, Any]) -> str:
        raise AppError("cannot_undo", "A start is not taken back.", "Stop the server on the Backends page.", status=409)


class AliasMaker:
    """Gives a model one more name that clients may use."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def preview(self, fix: Fix) -> FixPreview:
        return FixPreview(title=fix.title, changes=[self._change(fix)])

    async def make(self, fix: Fix) -> Made:
        change, alias = self._change(fix), str(fix.patch["alias"])
        await self._set(fix.target, [*self._catalog.get(fix.target).aliases, alias])
        back = {"model": fix.target, "alias": alias}
        return Made(f"“{fix.target}” answers to “{alias}” now.", [change], None, back)

    async def undo(self, back: Mapping[str, Any]) -> str:
        aliases = self._catalog.get(back["model"]).aliases
        await self._set(back["model"], [alias for alias in aliases if alias != back["alias"]])
        return f"“{back['model']}” does not answer to “{back['alias']}” any more."

    async def _set(self, name: str, aliases: list[str]) -> None:
        await self._catalog.patch(name, ConfigPatch(aliases=aliases))

    def _change(self, fix: Fix) -> Change:
        before = self._catalog.get(fix.target).aliases
        after = [*before, str(fix.patch["alias"])]
        return Change(what=f"Other names of “{fix.target}”", before=", ".join(before) or ABSENT, after=", ".join(after))


class PlaceholderKeyMaker:
    """Asks a server with a key that means nothing: some want one and do not look at it."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    async def preview(self, fix: Fix) -> FixPreview:
        change = Change(what=f"API key of “{fix.target}”", before=ABSENT, after=PLACEHOLDER_KEY)
        words = "If the server does not take it, it is taken away again."
        return FixPreview(title=fix.title, changes=[change], consequence=words)

    async def make(self, fix: Fix) -> Made:
        view = await self._servers.use_key(fix.target, PLACEHOLDER_KEY)
        if view.state is BackendState.UNKNOWN:
            await self._servers.use_key(fix.target, None)
            return Made(f"{view.title} wants a real key. Add it again with the key that its owner gave you.", [], False)
        changed = (await self.preview(fix)).changes
        return Made(f"{view.title} takes the placeholder.", changed, True, {"server": fix.target})

    async def undo(self, back: Mapping[str, Any]) -> str:
        view = await self._servers.use_key(back["server"], None)
        return f"{view.title} is asked without a key again."


class FileMaker:
    """Changes configuration files and their git state: with a copy, a look whether it works, and the way back."""

    def __init__(self, fixes: ConfigFixes) -> None:
        self._fixes = fixes

    async def preview(self, fix: Fix) -> FixPreview:
        return await self._fixes.preview(fix)

    async def make(self, fix: Fix) -> Made:
        done = await self._fixes.apply(fix)
        return Made(done.sentence, done.changes, None, done.undo)

    async def undo(self, back: Mapping[str, Any]) -> str:
        return await self._fixes.undo(dict(back))


def _consequence(name: str, *, restarts: bool, retries: bool) -> str:
    if not retries:
        return "It counts from the next load on."
    again = "is unloaded and loaded again" if restarts else "is loaded"
    return f"“{name}” {again}, to see whether it helps."
