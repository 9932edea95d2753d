"""Builds what knows of problems and mends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quarterdeck import __version__
from quarterdeck.backends.logs import LogBook
from quarterdeck.diagnosis.drift.applying import Applier
from quarterdeck.diagnosis.drift.fixing import KINDS, ConfigFixes
from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.diagnosis.matcher import prepare
from quarterdeck.diagnosis.report.reporter import Reporter
from quarterdeck.errors import AppError
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.mending.bundle import Bundle
from quarterdeck.mending.clients import CutPrompts, RefusedKeys, UnknownNames
from quarterdeck.mending.fixes import Fixer
from quarterdeck.mending.known import Known
from quarterdeck.mending.lacking import DefectProblems, ToolProblems
from quarterdeck.mending.ledger import Ledger
from quarterdeck.mending.makers import (
    AliasMaker,
    FileMaker,
    LoadConfigMaker,
    LoadMaker,
    Maker,
    MemoryMaker,
    PlaceholderKeyMaker,
    ServerMaker,
    SettingMaker,
    Trial,
)
from quarterdeck.mending.offers import Offers
from quarterdeck.mending.problems import Problems
from quarterdeck.mending.servers import ServerProblems
from quarterdeck.mending.sources import IssueProblems, ModelProblems, RequestProblems
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.scheduling.estimates import Estimator
from quarterdeck.scheduling.facts import FactFinder
from quarterdeck.scheduling.follower import Follower
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.landscape import Landscape
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendState
from quarterdeck.schemas.models import AttemptView
from quarterdeck.schemas.problems import FixKind, ProblemView
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database
from quarterdeck.tasks import spawn

BACKUPS = "backups"
KNOWN_ISSUES = "known-issues.md"
SAMPLE_PATIENCE = 1.0
PREPARE_AFTER_SECONDS = 3.0


class Mending:
    """Problems, fixes and the diagnostics bundle. Core loop only."""

    def __init__(
        self,
        database: Database,
        scheduler: Scheduler,
        estimator: Estimator,
        *,
        landscape: Landscape,
        servers: Servers,
        requests: RequestLog,
        issues: Issues,
        sampler: Sampler,
        settings: Callable[[], Settings],
        change: Callable[[dict[str, Any]], Awaitable[object]],
        logs: Mapping[str, LogBook],
        follower: Follower,
        folders: Folders,
        public_url: Callable[[], str | None],
    ) -> None:
        """`change` changes settings as the settings page does."""
        self._scheduler = scheduler
        self._landscape = landscape
        self._servers = servers
        self._settings = settings
        self.known_issues = KnownIssues(folders.data / KNOWN_ISSUES)
        self._facts = FactFinder(
            scheduler,
            servers,
            landscape,
            follower,
            settings=settings,
            logs=logs,
            public_url=public_url,
            version=__version__,
        )
        self.reporter = Reporter(self._facts, problems=self._all_problems)
        known = Known(self.known_issues, scheduler.catalog, landscape, requests, sampler.latest)
        offers = Offers(scheduler, estimator, settings)
        self.problems = Problems(
            [
                ModelProblems(scheduler, offers),
                ServerProblems(landscape, servers),
                DefectProblems(scheduler, landscape, offers),
                RequestProblems(requests, scheduler, offers),
                ToolProblems(requests, scheduler, offers),
                UnknownNames(requests, scheduler),
                RefusedKeys(requests),
                CutPrompts(requests, scheduler, estimator, offers),
                IssueProblems(issues, settings),
                known.problems,
                self.reporter.problems,
            ],
            known.explain,
        )
        files = FileMaker(
            ConfigFixes(
                self.reporter.files,
                Applier(
                    folders.data / BACKUPS, restart=lambda name: landscape.act(name, "restart"), models=self._models_of
                ),
            )
        )
        makers: dict[FixKind, Maker] = {
            FixKind.LOAD_CONFIG: LoadConfigMaker(scheduler),
            FixKind.LOAD: LoadMaker(Trial(scheduler)),
            FixKind.SETTING: SettingMaker(settings, change, Trial(scheduler)),
            FixKind.ALIAS: AliasMaker(scheduler.catalog),
            FixKind.PLACEHOLDER_KEY: PlaceholderKeyMaker(servers),
            FixKind.FREE_MEMORY: MemoryMaker(scheduler),
            FixKind.START_SERVER: ServerMaker(landscape),
            **dict.fromkeys(KINDS, files),
        }
        self.fixer = Fixer(self.problems, makers, Ledger(database))
        self.bundle = Bundle(
            {
                "version": _version,
                "settings": self._shown_settings,
                "models": self._models,
                "attempts": self._attempts,
                "problems": self.problems.all,
                "drift": self.reporter.drift,
                "fixes": self.fixer.applied,
                "requests": lambda: _now(requests.recent()),
                "backends": lambda: _now(landscape.views()),
                "hardware": lambda: asyncio.to_thread(sampler.sample_now, SAMPLE_PATIENCE),
            },
            logs,
        )

        # A failure finds the rules ready then, and the start does not wait for them.
        self._preparing = asyncio.get_running_loop().call_later(PREPARE_AFTER_SECONDS, _prepare)

    async def close(self) -> None:
        self._preparing.cancel()
        await self._facts.close()

    async def _all_problems(self) -> list[ProblemView]:
        return await self.problems.all()

    async def _models_of(self, server: str) -> list[str]:
        await self._servers.look_again(server)
        view = self._landscape.view(server)
        if view.state not in (BackendState.RUNNING, BackendState.DEFECT):
            raise AppError("not_answering", f"{view.title} does not answer.", view.detail or "", status=503)
        return view.models

    async def _shown_settings(self) -> dict[str, Any]:
        secret = {name for name, field in Settings.model_fields.items() if _is_secret(field.json_schema_extra)}
        return {name: value for name, value in self._settings().model_dump(mode="json").items() if name not in secret}

    async def _models(self) -> object:
        return self._scheduler.catalog.all()

    async def _attempts(self) -> list[AttemptView]:
        catalog = self._scheduler.catalog
        return [attempt for view in catalog.all() for attempt in await catalog.journal.attempts(view.name)]


def _prepare() -> None:
    spawn(asyncio.to_thread(prepare), name="make the rules of failures ready")


async def _version() -> dict[str, str]:
    return {"quarterdeck": __version__}


async def _now(value: object) -> object:
    return value


def _is_secret(extra: object) -> bool:
    return isinstance(extra, Mapping) and bool(extra.get("secret"))
