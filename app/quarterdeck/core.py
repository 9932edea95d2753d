"""The composition root: builds the services, starts and stops everything in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from quarterdeck import core_engines, core_folder
from quarterdeck.backends import autostart
from quarterdeck.backends.base import Backend
from quarterdeck.backends.logs import LogBook, LogFiles
from quarterdeck.backends.owners import Owners
from quarterdeck.compatibility.journal import Journal, Recovered
from quarterdeck.control import address, origins, own_log
from quarterdeck.control.address import PublicAddress
from quarterdeck.control.app import build_app
from quarterdeck.control.listeners import Listener, bind
from quarterdeck.control.preferences import Preferences
from quarterdeck.control.relay import Relay
from quarterdeck.control.services import Services
from quarterdeck.core_clients import ClientSide
from quarterdeck.core_mending import Mending
from quarterdeck.errors import AppError
from quarterdeck.hardware.fingerprint import fingerprint
from quarterdeck.hardware.memory import MemoryWatch
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.registry.models import Registry
from quarterdeck.scheduling.attribution import Attribution
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.defects import Defects
from quarterdeck.scheduling.discovery import Discovery
from quarterdeck.scheduling.estimates import Estimator
from quarterdeck.scheduling.follower import Follower
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.leftovers import Daemons, stop_engines
from quarterdeck.scheduling.protocol import inspect_file
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.scheduling.settling import Settling
from quarterdeck.scheduling.witness import Witness
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.system import IssueView
from quarterdeck.settings import Folders, Loaded, Settings
from quarterdeck.storage.database import Database, OpenReport
from quarterdeck.storage.events import EventLog
from quarterdeck.storage.secrets import Secrets
from quarterdeck.tasks import spawn

OWN_LOG = "quarterdeck"
START_COMMANDS = "bad_start_commands"
ORIGINS = "bad_origins"
NVML_PATIENCE = 3.0
SAMPLE_PATIENCE = 1.0
GIB = 1024**3

_log = logging.getLogger(__name__)


class Core:
    """Everything behind the window, on one event loop. `start`, then `stop` on the same loop."""

    def __init__(self, loaded: Loaded) -> None:
        self.folders: Folders = loaded.folders
        self.preferences = Preferences(loaded, self._apply)
        self.recovered: list[Recovered] = []
        self.token = ""
        self.control_url = ""
        self.public_url: str | None = None
        self._stack = contextlib.AsyncExitStack()

    async def start(self, *, public: bool, strict_port: bool = False) -> None:
        """Start in order; on an error everything that was started is stopped again. Raises AppError.

        Without `public` only the private listener is opened. With `strict_port` a public port that is taken is an
        error, else it is an issue that the window shows.
        """
        try:
            await self._start(public=public, strict_port=strict_port)
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Stop in the reverse order of the start. Engines end first, the database last."""
        await self._stack.aclose()

    async def _start(self, *, public: bool, strict_port: bool) -> None:
        settings = self.preferences.current
        self.token = await asyncio.to_thread(core_folder.prepare, self.folders)
        await core_folder.take(self.folders, self._stack)
        database = Database(self.folders, settings.database_url)
        self._stack.callback(database.close)
        report = await asyncio.to_thread(database.open)
        self._events = events = EventLog(database)
        await events.restore()
        self._stack.push_async_callback(events.flush)
        self._relay = Relay(events, self._stack)
        self._issues = Issues(events)
        self._own_log(settings)
        self._tell(report)
        self._check(START_COMMANDS, lambda: autostart.commands(settings.autostart_map))
        self._check(ORIGINS, lambda: origins.check(settings))
        self._database, self._daemons = database, Daemons(database)
        self._journal = Journal(database)
        await self._open_servers(database)
        self._backends = self._make_backends()
        self._registry = self._make_registry(database)
        await self._start_sampler(settings)
        await self._recover()
        await self._registry.seed_starter()
        await self._start_scheduling()
        await self._listen(public=public, strict_port=strict_port)
        await self._follower.open()
        # Before the scheduler, which it tells of changes.
        self._stack.push_async_callback(self._follower.close)
        self._stack.callback(events.close)
        if public and settings.discover_at_start:
            self._look_around()

    def _own_log(self, settings: Settings) -> None:
        files = LogFiles(self.folders.logs)
        self._stack.callback(files.close)
        self.logs = {OWN_LOG: LogBook(OWN_LOG, files, self._relay.lines)}
        self._files = files
        call = asyncio.get_running_loop().call_soon_threadsafe
        self._stack.callback(own_log.keep_in(self.logs[OWN_LOG], call, settings.log_level))

    def _log_for(self, source: str) -> LogBook:
        return self.logs.setdefault(source, LogBook(source, self._files, self._relay.lines))

    def _make_backends(self) -> dict[str, Backend]:
        return core_engines.make_backends(
            core_engines.Surroundings(
                settings=self._settings,
                folders=self.folders,
                log=self._log_for,
                daemons=self._daemons,
                key_for=self._servers.key_for,
                urls=lambda kind: [found.url for found in self._servers.found() if found.kind is kind],
            )
        )

    def _make_registry(self, database: Database) -> Registry:
        return Registry(
            database,
            include_non_installed=lambda: self._settings().include_non_installed,
            usual_url=self._usual_url,
            engines=lambda: {name: backend.options for name, backend in self._backends.items()},
        )

    def _usual_url(self, backend: str) -> str | None:
        """The address of an engine that has one server of its own."""
        settings = self._settings()
        usual: dict[str, str] = {BackendKind.OLLAMA: settings.ollama_url, BackendKind.LITELLM: settings.litellm_url}
        return usual.get(backend)

    def _own_ports(self) -> set[int]:
        listening = (url for url in (self.control_url, self.public_url) if url)
        return self._landscape.own_ports() | {port for url in listening if (port := urlsplit(url).port)}

    def _own_pids(self) -> set[int]:
        return self._landscape.own_pids()

    async def _open_servers(self, database: Database) -> None:
        secrets = Secrets(self.folders)
        await asyncio.to_thread(secrets.open)
        self._servers = Servers(
            database,
            secrets,
            settings=self._settings,
            owners=Owners(own_pids=self._own_pids),
            own_ports=self._own_ports,
            watched=lambda: self._events.watched(Topic.BACKEND),
            on_change=lambda name, _view: self._landscape.publish(name),
        )

    async def _recover(self) -> None:
        """Stop engines that an earlier run left, take over its servers, and settle what it left in `testing`."""
        patience = self._settings().stop_timeout
        await stop_engines(self._journal, patience)
        await core_engines.adopt(self._backends, self._daemons, patience)
        self.recovered = await self._journal.recover()
        for each in self.recovered:
            _log.warning("%s was being tested when Quarterdeck ended; it is now %s", each.model_name, each.status)

    async def _start_sampler(self, settings: Settings) -> None:
        self._sampler = sampler = Sampler(nvml_enabled=settings.nvml, interval=settings.sample_interval)
        self._relay.watch_hardware(sampler)
        sampler.start()
        self._stack.callback(sampler.stop)
        await self._hardware()

    async def _hardware(self) -> str:
        """The fingerprint of this machine; a driver that needs time to answer gets NVML_PATIENCE seconds."""
        await asyncio.to_thread(self._sampler.wait_ready, NVML_PATIENCE)
        known = fingerprint(self._sampler.latest())
        self._registry.hardware = self._journal.hardware = known
        return known

    async def _start_scheduling(self) -> None:
        catalog = Catalog(self._registry, self._journal, self._events)
        await catalog.open()
        estimator = Estimator(
            self._database,
            lambda: self._sampler.sample_now(SAMPLE_PATIENCE),
            reserve_bytes=lambda: int(self._settings().desktop_reserve * GIB),
            uses_gpu=lambda backend: self._backends[backend].computes_on_gpu(),
        )
        settling = Settling(catalog, self._events, self._issues)
        self._stack.push_async_callback(settling.close)
        memory = MemoryWatch(self._sampler)
        self._scheduler = scheduler = Scheduler(
            catalog,
            self._backends,
            settling,
            self._events,
            settings=self._settings,
            hardware=self._hardware,
            on_backend=self._backend_changed,
            memory=memory,
            estimator=estimator,
            inspect=self._inspect,
        )
        self._journal.witness = Witness(self._sampler, lambda: scheduler.loaded, scheduler.backend_views)
        self._estimator = estimator
        self._defects = Defects(scheduler.loaded, tell=lambda backend: self._landscape.publish(backend.name))
        self._stack.push_async_callback(self._defects.close)
        self._landscape = Landscape(scheduler, self._servers, self._defects.of, self._relay.backend)
        self._attribution = Attribution(
            catalog,
            scheduler.loaded,
            queue=lambda: scheduler.queue,
            book=self._sampler.book,
            memory=memory,
            issues=self._issues,
            tell=lambda backend: self._landscape.publish(backend.name),
        )
        self._stack.push_async_callback(self._attribution.close)
        self._follower = Follower(catalog, self._issues, on_change=scheduler.update)
        self._discovery = Discovery(self._servers, self._backends, catalog, settings=self._settings)
        await scheduler.open()
        await self._servers.open()
        self._stack.push_async_callback(self._servers.close)
        self._clients = ClientSide(
            self._database,
            scheduler,
            settings=self._settings,
            token=self.token,
            sampler=self._sampler,
            issues=self._issues,
            logs=self.folders.logs,
            on_request=self._relay.request,
            on_passed_over=self._relay.requests_passed_over,
            look_around=self._discovery.scan,
        )
        await self._clients.open(self._stack)

    async def _listen(self, *, public: bool, strict_port: bool) -> None:
        private = bind("127.0.0.1", 0)
        self.control_url = f"http://127.0.0.1:{private.getsockname()[1]}"
        mending = Mending(
            self._database,
            self._scheduler,
            self._estimator,
            landscape=self._landscape,
            servers=self._servers,
            requests=self._clients.requests,
            issues=self._issues,
            sampler=self._sampler,
            settings=self._settings,
            change=self.preferences.change,
            logs=self.logs,
            follower=self._follower,
            folders=self.folders,
            public_url=lambda: self.public_url,
        )
        self._stack.push_async_callback(mending.close)
        services = Services(
            scheduler=self._scheduler,
            servers=self._servers,
            landscape=self._landscape,
            discovery=self._discovery,
            estimator=self._estimator,
            follower=self._follower,
            events=self._events,
            sampler=self._sampler,
            requests=self._clients.requests,
            keys=self._clients.keys,
            routing=self._clients.router,
            rules=self._clients.rules,
            problems=mending.problems,
            fixer=mending.fixer,
            bundle=mending.bundle,
            reporter=mending.reporter,
            known_issues=mending.known_issues,
            preferences=self.preferences,
            logs=self.logs,
            issues=self._issues,
            public_url=lambda: self.public_url,
            control_url=self.control_url,
        )
        self._app = build_app(
            services, access=self._clients.access, proxy=self._clients.proxy, client_routes=self._clients.routes()
        )
        self._address = PublicAddress(self._app)
        listener = Listener(self._app, private)
        self._stack.push_async_callback(listener.stop)
        self._stack.push_async_callback(self._close_public)
        # Streams of clients end when their engine ends, so engines stop before the listeners close.
        self._stack.push_async_callback(self._scheduler.close)
        await listener.ready()
        if public:
            try:
                await self._open_public(self.preferences.current)
            except AppError as error:
                if strict_port:
                    raise
                self._issues.raise_issue(
                    IssueView(code=error.code, sentence=error.sentence, hint=error.hint, severity="error")
                )
        self._stack.callback(self.folders.lock_file.unlink, missing_ok=True)
        self._tell_where()

    async def _open_public(self, settings: Settings) -> None:
        await self._address.open(settings, keyed=self._clients.keys.exist)
        self.public_url = self._address.url
        self._issues.clear("port_in_use", "cannot_bind", "not_loopback", "bad_tls")

    async def _close_public(self) -> None:
        self.public_url = None
        await self._address.close()

    async def _inspect(self, view: ModelView) -> tuple[Path | None, int | None]:
        """A model's file as it is now. Raises AppError, also when it is not the one that the model is held to."""
        await self._registry.check_lock(view.name)
        return await inspect_file(view)

    def _backend_changed(self, backend: Backend) -> None:
        self._attribution.changed(backend)
        self._defects.changed()
        self._landscape.engine_changed(backend.name)

    def _settings(self) -> Settings:
        return self.preferences.current

    def _look_around(self) -> None:
        """Find servers and models in the background; closing does not wait for it."""
        looking = spawn(self._discovery.scan(), name="look around")
        self._stack.callback(looking.cancel)

    async def _apply(self, new: Settings, changed: set[str]) -> None:
        """Make changed settings true that need no restart. Raises AppError if that is not possible."""
        if changed & address.SETTINGS:
            await self._open_public(new)
            self._tell_where()
        # The scheduler reads the settings as they are kept, which they are when this has returned.
        asyncio.get_running_loop().call_soon(self._scheduler.update)
        if "autostart_map" in changed:
            self._issues.clear(START_COMMANDS)
        if changed & origins.SETTINGS:
            self._issues.clear(ORIGINS)
        if "sample_interval" in changed:
            self._sampler.set_interval(new.sample_interval)

    def _tell_where(self) -> None:
        core_folder.tell_where(self.folders, control_url=self.control_url, public_url=self.public_url)

    def _check(self, code: str, check: Callable[[], object]) -> None:
        """Settings of which a part cannot be used are an issue; the rest of them counts."""
        try:
            check()
        except AppError as error:
            self._issues.raise_issue(IssueView(code=code, sentence=error.sentence, hint=error.hint, severity="error"))

    def _tell(self, report: OpenReport) -> None:
        if report.quarantined is not None:
            self._issues.raise_issue(
                IssueView(
                    code="database_damaged",
                    sentence="The database was damaged. It was set aside and a new one was started.",
                    hint=f"The old one is {report.quarantined}. Models you had added must be added again.",
                    severity="error",
                )
            )
