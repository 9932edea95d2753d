"""What the window knows of the core, kept current by one event stream. Runs on the Qt thread under qasync."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from quarterdeck.errors import AppError
from quarterdeck.gui.feed import Feed
from quarterdeck.gui.problem_watch import ProblemWatch
from quarterdeck.tasks import spawn

if TYPE_CHECKING:
    from quarterdeck.client.api import ApiClient
    from quarterdeck.schemas.backends import BackendView
    from quarterdeck.schemas.events import Event
    from quarterdeck.schemas.hardware import HardwareSample
    from quarterdeck.schemas.models import ModelView
    from quarterdeck.schemas.system import IssueView, QueueEntry, SettingView, SystemStatus

SAMPLES_KEPT = 900
LIVE_TOPICS = ("gpu", "log", "request")

_log = logging.getLogger(__name__)


class Store(QObject):
    """The state every page shows, with a signal for each change of it.

    `owns_core` says whether the core ends with this window. `connection_failed(AppError)` follows each failed attempt
    to reach it. `toast(text, kind)` has the kinds ok, info, warn and error; `offer(text, verb, action, kind)` is a
    toast with a button. `request_finished` carries the fields of a RequestView.
    """

    models_reset = Signal()
    model_changed = Signal(str)
    model_removed = Signal(str)
    attempt_finished = Signal(object)
    backends_changed = Signal()
    queue_changed = Signal()
    request_finished = Signal(object)
    samples_reset = Signal()
    sample_arrived = Signal(object)
    log_arrived = Signal(str, list)
    issues_changed = Signal()
    settings_changed = Signal()
    status_changed = Signal()
    connection_changed = Signal(bool)
    connection_failed = Signal(object)
    toast = Signal(str, str)
    offer = Signal(str, str, object, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.client: ApiClient | None = None
        self.models: dict[str, ModelView] = {}
        self.backends: dict[str, BackendView] = {}
        self.queue: list[QueueEntry] = []
        self.samples: deque[HardwareSample] = deque(maxlen=SAMPLES_KEPT)
        self.issues: dict[str, IssueView] = {}
        self.settings: dict[str, SettingView] = {}
        self.status: SystemStatus | None = None
        self.connected = False
        self.owns_core = True
        self.last_error: AppError | None = None
        self._feed: Feed | None = None
        self._wanted: Counter[str] = Counter()
        self._visible = True
        # The few models that are not just lying there, so that an event needs no look at thousands of others.
        self._active: dict[str, ModelView] = {}
        self.problems = ProblemWatch(self)

    async def connect_to(self, client: ApiClient) -> None:
        """Follow the core behind `client` until `aclose`; a lost core is tried again for ever."""
        await self.aclose()
        self.client = client
        self._feed = Feed(client, self._refetch, self._apply, self._set_connected)
        self._feed.set_live(self._live_topics())
        self._feed.start()

    async def aclose(self) -> None:
        """Stop following and close the client; safe to call twice."""
        self.problems.stop()
        feed, self._feed = self._feed, None
        client, self.client = self.client, None
        if feed is not None:
            await feed.stop()
        if client is not None:
            await client.aclose()
        self._set_connected(None)

    def watch(self, topic: str, wanted: bool) -> None:
        """A page asks for `gpu`, `log` or `request` events while it is shown, and gives them up when it is hidden."""
        topic = str(topic)
        self._wanted[topic] = max(0, self._wanted[topic] + (1 if wanted else -1))
        self._live_changed()

    def set_visible(self, visible: bool) -> None:
        """A hidden window gets no live topics, whatever its pages want."""
        if visible != self._visible:
            self._visible = visible
            self.problems.set_visible(visible)
            self._live_changed()

    def run(self, work: Coroutine[Any, Any, Any], *, name: str, then: Callable[[], None] | None = None) -> None:
        """Do something with the core in the background; its AppError becomes a toast, `then` follows a success."""
        spawn(self._run(work, then), name=name)

    async def _run(self, work: Coroutine[Any, Any, Any], then: Callable[[], None] | None) -> None:
        try:
            await work
        except AppError as error:
            self.toast.emit(f"{error.sentence} {error.hint}".strip(), "error")
        else:
            if then is not None:
                then()

    def loaded(self) -> list[ModelView]:
        return [model for model in self._active.values() if model.phase.value in ("loaded", "unloading")]

    def loading(self) -> list[ModelView]:
        return [model for model in self._active.values() if model.phase.value in ("queued", "loading", "cancelling")]

    def sleeping(self) -> list[ModelView]:
        return [model for model in self._active.values() if model.phase.value == "sleeping"]

    def _live_topics(self) -> frozenset[str]:
        return frozenset(topic for topic in LIVE_TOPICS if self._visible and self._wanted[topic])

    def _live_changed(self) -> None:
        if self._feed is None:
            return
        before = self._feed.live
        live = self._live_topics()
        self._feed.set_live(live)
        if "gpu" in live - before and self.connected:
            spawn(self._fetch_samples(), name="fetch samples")

    async def _refetch(self) -> None:
        client = self.client
        if client is None:
            return
        # What hardly changes goes first: by the time of the rest, the event stream is open and nothing is missed.
        settings = await client.settings()
        status, models, backends = await asyncio.gather(client.status(), client.models(), client.backends())
        self.status = status
        self.models = {model.name: model for model in models}
        self._active = {model.name: model for model in models if model.phase.value != "unloaded"}
        self.queue = status.queue
        self.backends = {backend.name: backend for backend in backends}
        self.settings = {setting.name: setting for setting in settings}
        self.issues = {issue.code: issue for issue in status.issues}
        for signal in (self.status_changed, self.models_reset, self.backends_changed, self.queue_changed,
                       self.settings_changed, self.issues_changed):  # fmt: skip
            signal.emit()
        if "gpu" in self._live_topics():
            await self._fetch_samples()

    async def _fetch_samples(self) -> None:
        if self.client is None:
            return
        try:
            samples = await self.client.hardware()
        except AppError as error:
            _log.info("no samples: %s", error.sentence)
            return
        self.samples.clear()
        self.samples.extend(samples)
        self.samples_reset.emit()
        if samples:
            self.sample_arrived.emit(samples[-1])

    async def fetch_backends(self) -> None:
        """Ask for values that no event announces, such as memory. Raises AppError."""
        views = await self.api().backends()
        self.backends = {view.name: view for view in views}
        self.backends_changed.emit()

    def forget_backend(self, name: str) -> None:
        """A backend was removed; the event of it may have come before."""
        if self.backends.pop(name, None) is not None:
            self.backends_changed.emit()

    def api(self) -> ApiClient:
        """The core's calls. Raises AppError while there is no core."""
        if self.client is None:
            raise AppError(
                "core_unreachable", "Quarterdeck's core is not running.", "Wait a moment, or start Quarterdeck again."
            )
        return self.client

    async def _refetch_status(self) -> None:
        if self.client is None:
            return
        try:
            self.status = await self.client.status()
        except AppError as error:
            _log.info("no status: %s", error.sentence)
            return
        self.status_changed.emit()

    def _set_connected(self, error: AppError | bool | None) -> None:
        connected = error is True
        self.last_error = error if isinstance(error, AppError) else None
        if connected != self.connected:
            self.connected = connected
            self.connection_changed.emit(connected)
        if self.last_error is not None:
            self.connection_failed.emit(self.last_error)

    def _apply(self, event: Event) -> None:
        handler = getattr(self, f"_on_{event.topic.value}", None)
        if handler is not None:
            handler(event)

    def _on_model(self, event: Event) -> None:
        from quarterdeck.schemas.models import ModelView

        if event.type == "removed":
            name = str(event.data["name"])
            self._active.pop(name, None)
            if self.models.pop(name, None) is not None:
                self.model_removed.emit(name)
            return
        model = ModelView.model_validate(event.data)
        self.models[model.name] = model
        if model.phase.value == "unloaded":
            self._active.pop(model.name, None)
        else:
            self._active[model.name] = model
        self.model_changed.emit(model.name)

    def _on_attempt(self, event: Event) -> None:
        from quarterdeck.schemas.models import AttemptView

        if event.type == "finished":
            self.attempt_finished.emit(AttemptView.model_validate(event.data))
            spawn(self._refetch_status(), name="fetch status")

    def _on_backend(self, event: Event) -> None:
        from quarterdeck.schemas.backends import BackendView

        if event.type == "removed":
            self.backends.pop(str(event.data["name"]), None)
        else:
            backend = BackendView.model_validate(event.data)
            self.backends[backend.name] = backend
        self.backends_changed.emit()

    def _on_queue(self, event: Event) -> None:
        from quarterdeck.schemas.system import QueueEntry

        self.queue = [QueueEntry.model_validate(entry) for entry in event.data["entries"]]
        self.queue_changed.emit()

    def _on_request(self, event: Event) -> None:
        # As it came: whoever shows requests reads only as many as there is room for.
        if event.type == "finished":
            self.request_finished.emit(event.data)

    def _on_setting(self, event: Event) -> None:
        from quarterdeck.schemas.system import SettingView

        setting = SettingView.model_validate(event.data)
        self.settings[setting.name] = setting
        self.settings_changed.emit()
        # The public address follows host and port and is part of the status.
        spawn(self._refetch_status(), name="fetch status")

    def _on_issue(self, event: Event) -> None:
        from quarterdeck.schemas.system import IssueView

        if event.type == "cleared":
            self.issues.pop(str(event.data["code"]), None)
        else:
            issue = IssueView.model_validate(event.data)
            self.issues[issue.code] = issue
        self.issues_changed.emit()
        spawn(self._refetch_status(), name="fetch status")

    def _on_gpu(self, event: Event) -> None:
        from quarterdeck.schemas.hardware import HardwareSample

        sample = HardwareSample.model_validate(event.data)
        self.samples.append(sample)
        self.sample_arrived.emit(sample)

    def _on_log(self, event: Event) -> None:
        from quarterdeck.schemas.backends import LogLine

        lines = [LogLine.model_validate(line) for line in event.data["lines"]]
        self.log_arrived.emit(str(event.data["source"]), lines)
