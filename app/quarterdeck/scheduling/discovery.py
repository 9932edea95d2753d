"""Looking around: which servers answer, which models they and the disk have. Nothing is ever loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from quarterdeck.backends.base import Backend
from quarterdeck.errors import AppError
from quarterdeck.registry.addresses import target_of
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.discovery import FoundModel, PassedOver, ScanResult, ServerState
from quarterdeck.schemas.models import ModelView
from quarterdeck.settings import Settings

# In these states a server's model list is whole: what is not in it is not there.
_TELLING = (ServerState.UP, ServerState.SWITCHING)

_log = logging.getLogger(__name__)


class Discovery:
    """Finds servers and models and takes them into the registry. Core loop only."""

    def __init__(
        self,
        servers: Servers,
        backends: Mapping[str, Backend],
        catalog: Catalog,
        *,
        settings: Callable[[], Settings],
    ) -> None:
        self._servers = servers
        self._backends = backends
        self._catalog = catalog
        self._settings = settings
        self._scanning = asyncio.Lock()

    async def scan(self, folders: Sequence[Path] = ()) -> ScanResult:
        """Look everywhere, and into `folders` too. Only what changed is stored and published. One scan at a time."""
        async with self._scanning:
            on_disk, _ = await asyncio.gather(self._look_at_disk(folders), self._servers.refresh())
            models, passed_over, places = on_disk
            servers = [*self._servers.found(), *await self._servers.our_own()]
            # What a backend says of its servers' models is more than what their list says, so it comes first.
            models += await self._of_backends()
            models += [model for server in servers for model in server.models]
            sources = places | {server.url for server in servers if server.state in _TELLING}
            result = await self._catalog.reconcile(models, sources=sources)
            result.servers = self._servers.found()
            result.passed_over = passed_over + result.passed_over
            return result

    async def look_up(self, view: ModelView) -> ModelView:
        """Take over what the server of one model says of it, if it answers: until then nothing is known of it."""
        backend = self._backends.get(view.backend)
        wanted = {target_of(view.url, name) for name in (view.served_name, f"{view.served_name}:latest")}
        if view.url is None or backend is None:
            return view
        async with self._scanning:
            found = [each for each in await _found_by(backend) if target_of(each.url, each.name) in wanted]
            await self._catalog.reconcile(found, sources=())
        return self._catalog.get(view.name)

    async def _look_at_disk(self, folders: Sequence[Path]) -> tuple[list[FoundModel], list[PassedOver], set[str]]:
        """Models on disk, and the places that were looked at completely."""
        settings = self._settings()
        known = [Path(folder) for folder in settings.model_folders if folder.strip()]
        return await self._catalog.registry.look([*known, *folders], caches=settings.scan_caches)

    async def _of_backends(self) -> list[FoundModel]:
        found = await asyncio.gather(*(_found_by(backend) for backend in self._backends.values()))
        return [model for models in found for model in models]


async def _found_by(backend: Backend) -> list[FoundModel]:
    try:
        return await backend.found_models()
    except AppError as error:
        _log.warning("the models of %s could not be listed: %s", backend.title, error.sentence)
        return []
