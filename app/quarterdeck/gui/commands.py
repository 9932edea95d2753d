"""What a person can ask of the core, once for cards, details, tray and menus: ask, send, say how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QWidget

from quarterdeck.client.api import ApiClient
from quarterdeck.errors import AppError
from quarterdeck.gui.dialogs.ask import answer, confirm
from quarterdeck.gui.dialogs.force_load import DoesNotFitDialog, permission_to_load
from quarterdeck.gui.presenters import text
from quarterdeck.gui.presenters.card import Verb
from quarterdeck.schemas.discovery import Absence, ImportPreview, ImportRequest
from quarterdeck.schemas.estimate import Estimate, EstimateRequest
from quarterdeck.schemas.models import ConfigPatch, LoadResult, ModelCreate, ModelView, Phase, Status
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.gui.store import Store

T = TypeVar("T")


class Commands(QObject):
    """Sends commands and tells their results. All methods belong to the thread of the window.

    `busy_changed(name)` says that a command for that model was sent or ended, `details_wanted(name)` asks to show
    its history. Results are told through the store's `toast` and `offer`.
    """

    busy_changed = Signal(str)
    details_wanted = Signal(str)

    def __init__(self, store: Store, parent_window: QWidget | None = None) -> None:
        super().__init__(parent_window)
        self._store = store
        self._window = parent_window
        self._busy: dict[str, Verb] = {}
        self._errors: dict[str, AppError] = {}
        self._asking: set[str] = set()

    def busy(self, name: str) -> Verb | None:
        """The command for this model that the core has not answered yet."""
        return self._busy.get(name)

    def error(self, name: str) -> AppError | None:
        """Why the last command for this model failed; None after one that worked."""
        return self._errors.get(name)

    def run(self, name: str, verb: Verb) -> None:
        """Do what a card's primary button says."""
        {Verb.LOAD: self.load, Verb.CANCEL: self.cancel, Verb.UNLOAD: self.unload}[verb](name)

    def load(self, name: str, *, load_config: str | None = None, force: bool = False) -> asyncio.Task[bool]:
        """Load a model after asking where its status calls for it; True when it is loaded in the end.

        `load_config` (JSON text) replaces the stored one for this load; `force` was agreed to already.
        """
        return spawn(self._load(name, load_config, force), name=f"load {name}")

    def unload(self, name: str) -> asyncio.Task[bool]:
        return spawn(self._unload(name), name=f"unload {name}")

    def unload_all(self) -> asyncio.Task[bool]:
        return spawn(self._unload_all(), name="unload all")

    def cancel(self, name: str) -> asyncio.Task[bool]:
        return spawn(self._cancel(name), name=f"cancel {name}")

    def remove(self, name: str) -> asyncio.Task[bool]:
        """Forget a model after asking; its file stays."""
        return spawn(self._remove(name), name=f"remove {name}")

    def lock(self, name: str) -> asyncio.Task[bool]:
        """Hold a model to the files it has now."""
        return spawn(self._version(name, Verb.LOCK), name=f"lock {name}")

    def unlock(self, name: str) -> asyncio.Task[bool]:
        return spawn(self._version(name, Verb.UNLOCK), name=f"unlock {name}")

    def verify(self, name: str) -> asyncio.Task[bool]:
        """Compare a model's files with those it was locked to."""
        return spawn(self._version(name, Verb.VERIFY), name=f"verify {name}")

    async def estimate(self, request: EstimateRequest) -> Estimate:
        """The memory a load would need. Raises AppError, for the dialog to show in its place."""
        return await self._client().estimate(request)

    async def import_models(self, request: ImportRequest) -> ImportPreview:
        """Preview or carry out an import. Raises AppError, for the wizard to show in its place."""
        return await self._client().import_models(request)

    async def absences(self) -> list[Absence]:
        return await self._client().absences()

    async def patch(self, name: str, patch: ConfigPatch) -> ModelView:
        """Save a model's status, notes or configuration. Raises AppError, for the editor to show in its place."""
        return await self._client().patch_config(name, patch)

    async def add(self, new: ModelCreate) -> ModelView:
        """Add a model to the list. Raises AppError, for the dialog to show in its place."""
        view = await self._client().add_model(new)
        self._offer(f"Added {view.name}", "Load", lambda: self.load(view.name))
        return view

    def show_file(self, name: str) -> None:
        """Open the folder in which the model's file lies."""
        model = self._store.models.get(name)
        folder = Path(model.path).parent if model and model.path else None
        if folder is None or not QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder))):
            where = f" It is {folder}." if folder else ""
            self._tell(f"The folder of {name} could not be opened.{where}", "error")

    def copy_text(self, value: str, what: str) -> None:
        QGuiApplication.clipboard().setText(value)
        self._tell(f"Copied {what}", "info")

    async def _load(self, name: str, load_config: str | None, agreed: bool) -> bool:
        model = self._store.models.get(name)
        resting = model is not None and model.phase in (Phase.UNLOADED, Phase.SLEEPING)
        if model is None or name in self._asking or not resting or name in self._busy:
            return False
        force = await self._ask_to_load(model)
        if force is None:
            return False
        try:
            result = await self._load_once(model, force=force or agreed, load_config=load_config)
        except AppError as error:
            self._load_failed(name, error)
            return False
        took = f" in {text.duration(result.load_seconds)}" if result.load_seconds is not None else ""
        self._tell(f"Loaded {name}{took}")
        return True

    async def _load_once(self, model: ModelView, *, force: bool, load_config: str | None) -> LoadResult:
        """Send the load; when the core knows better that it must be asked, ask and send it again."""
        try:
            return await self._send_load(model.name, force=force, load_config=load_config)
        except AppError as error:
            if error.code not in ("incompatible", "does_not_fit") or force:
                raise
            refused = error
        if not await self._insist(model, refused):
            raise AppError("cancelled", f"{model.name} was not loaded.")
        return await self._send_load(model.name, force=True, load_config=load_config)

    async def _send_load(self, name: str, *, force: bool, load_config: str | None) -> LoadResult:
        return await self._sent(name, Verb.LOAD, self._client().load(name, force=force, load_config=load_config))

    async def _insist(self, model: ModelView, refused: AppError) -> bool:
        """Ask whether to load what the core refused to load by accident."""
        if refused.code == "incompatible":
            notes = str(refused.details.get("compatibility_notes") or model.notes)
            known = model.model_copy(update={"status": Status.INCOMPATIBLE, "notes": notes})
            return await self._ask_to_load(known) is not None
        self._asking.add(model.name)
        try:
            return await answer(DoesNotFitDialog(self._window, model.name, refused))
        finally:
            self._asking.discard(model.name)

    async def _ask_to_load(self, model: ModelView) -> bool | None:
        self._asking.add(model.name)
        try:
            return await permission_to_load(self._window, model)
        finally:
            self._asking.discard(model.name)

    def _load_failed(self, name: str, error: AppError) -> None:
        if error.code in ("cancelled", "load_cancelled"):
            self._errors.pop(name, None)
            self.busy_changed.emit(name)
            self._tell(f"Loading {name} was cancelled", "info")
            return
        words = f"{name} could not be loaded. {error.sentence}"
        self._offer(words, "Details", lambda: self.details_wanted.emit(name), "error")

    async def _unload(self, name: str) -> bool:
        try:
            await self._sent(name, Verb.UNLOAD, self._client().unload(name))
        except AppError as error:
            self._failed(f"{name} could not be unloaded.", error)
            return False
        self._offer(f"Unloaded {name}", "Load again", lambda: self.load(name))
        return True

    async def _unload_all(self) -> bool:
        names = [model.name for model in self._store.models.values() if model.loaded]
        results = [await self._sent_quietly(name) for name in names]
        if not names:
            self._tell("No model is loaded", "info")
        elif all(results):
            self._tell(f"Unloaded {', '.join(names)}")
        return all(results)

    async def _sent_quietly(self, name: str) -> bool:
        try:
            await self._sent(name, Verb.UNLOAD, self._client().unload(name))
        except AppError as error:
            self._failed(f"{name} could not be unloaded.", error)
            return False
        return True

    async def _cancel(self, name: str) -> bool:
        try:
            await self._sent(name, Verb.CANCEL, self._client().cancel(name))
        except AppError as error:
            self._failed(f"Loading {name} could not be cancelled.", error)
            return False
        return True

    async def _version(self, name: str, verb: Verb) -> bool:
        if name in self._busy:
            return False
        calls = {Verb.LOCK: self._client().lock, Verb.UNLOCK: self._client().unlock, Verb.VERIFY: self._client().verify}
        words = {
            Verb.LOCK: f"{name} is locked to the files it has now",
            Verb.UNLOCK: f"{name} is no longer locked",
            Verb.VERIFY: f"The files of {name} are the ones it is locked to",
        }
        try:
            await self._sent(name, verb, calls[verb](name))
        except AppError as error:
            self._failed("", error)
            return False
        self._tell(words[verb])
        return True

    async def _remove(self, name: str) -> bool:
        model = self._store.models.get(name)
        if model is None or name in self._asking:
            return False
        self._asking.add(name)
        try:
            sure = await confirm(
                self._window, title=f"Remove {name} from the list?", text=_removal(model), verb="Remove", danger=True
            )
        finally:
            self._asking.discard(name)
        if not sure:
            return False
        try:
            if model.loaded:
                await self._sent(name, Verb.UNLOAD, self._client().unload(name))
            await self._client().remove_model(name)
        except AppError as error:
            self._failed(f"{name} could not be removed.", error)
            return False
        self._tell(f"Removed {name} from the list")
        return True

    async def _sent(self, name: str, verb: Verb, call: Coroutine[Any, Any, T]) -> T:
        """Await `call` while the model shows as busy; its error is remembered for the card."""
        self._busy[name] = verb
        self._errors.pop(name, None)
        self.busy_changed.emit(name)
        try:
            return await call
        except AppError as error:
            self._errors[name] = error
            raise
        finally:
            if self._busy.get(name) is verb:
                del self._busy[name]
            self.busy_changed.emit(name)

    def _client(self) -> ApiClient:
        return self._store.api()

    def _failed(self, what: str, error: AppError) -> None:
        self._tell(" ".join(part for part in (what, error.sentence, error.hint) if part), "error")

    def _tell(self, words: str, kind: str = "ok") -> None:
        self._store.toast.emit(words, kind)

    def _offer(self, words: str, verb: str, action: Callable[[], object], kind: str = "ok") -> None:
        self._store.offer.emit(words, verb, action, kind)


def _removal(model: ModelView) -> str:
    first = "It is unloaded, and its" if model.loaded else "Its"
    kept = f" The file stays where it is: {model.path}" if model.path else ""
    return f"{first} notes, configuration and history are forgotten.{kept}"
