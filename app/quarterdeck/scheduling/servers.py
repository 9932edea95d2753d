"""Servers besides our own engines: found or made known, looked at on demand, started and stopped by their owners."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import aiohttp

from quarterdeck.backends.addresses import aliased, is_loopback
from quarterdeck.backends.owners import Owners, not_ours
from quarterdeck.backends.probe import NOTHING, probe
from quarterdeck.errors import AppError
from quarterdeck.scheduling import server_actions, server_list, server_owners
from quarterdeck.scheduling.server_book import Changed, ServerBook
from quarterdeck.scheduling.server_list import CONTROLLED, Known, Origin, Place, Wanted, place
from quarterdeck.scheduling.server_rows import ServerRows
from quarterdeck.scheduling.server_views import view_of
from quarterdeck.schemas.backends import BackendState, BackendView, LogLine, ServerCreate
from quarterdeck.schemas.discovery import FoundServer, ServerState
from quarterdeck.settings import Settings
from quarterdeck.storage.database import Database
from quarterdeck.storage.secrets import Secrets
from quarterdeck.tasks import spawn

REFRESH_SECONDS = 15.0
CATCH_UP_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Servers:
    """The list of servers. Core loop only; `open` before use, `close` at the end.

    `own_ports` are the loopback ports on which Quarterdeck or an engine of ours listens. While `watched` says that
    somebody looks, the list is refreshed every REFRESH_SECONDS.
    """

    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        *,
        settings: Callable[[], Settings],
        owners: Owners,
        own_ports: Callable[[], Collection[int]] = frozenset,
        watched: Callable[[], bool] = lambda: False,
        on_change: Changed = lambda _name, _view: None,
    ) -> None:
        self._rows = ServerRows(database, secrets)
        self._settings = settings
        self._owners = owners
        self._own_ports = own_ports
        self._watched = watched
        self._book = ServerBook(on_change)
        self._refreshing = asyncio.Lock()
        self._looked_at: float | None = None
        self._http: aiohttp.ClientSession | None = None
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the list; nothing is asked yet."""
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        await self._rows.read()
        for where, wanted in self._places().items():
            if wanted.origin is not Origin.FOUND:
                self._book.enter(where, wanted, server_list.not_asked_yet(wanted))
        self._book.publish()
        self._watching = spawn(self._watch(), name="watch servers")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._http is not None:
            await self._http.close()

    def views(self) -> list[BackendView]:
        """All servers as they were when they were looked at last."""
        return self._book.views()

    def found(self) -> list[FoundServer]:
        """Everything that answered at the last look, also what is no language-model server."""
        servers = [*(known.found for known in self._book.known.values()), *self._book.passing.values()]
        return [found for found in servers if found.product != NOTHING and found.state is not ServerState.DOWN]

    def by_url(self, url: str) -> FoundServer | None:
        """The server at a base address as it was looked at last; None where none is known."""
        known = self._book.known.get(place(url))
        return None if known is None else known.found

    async def our_own(self) -> list[FoundServer]:
        """Those that the list leaves to their backends because we started them, as they answer now."""
        listed = self._places()
        ours = {place(each.url): each for each in self._wanted() if each.kind and place(each.url) not in listed}
        return list(await asyncio.gather(*(self._ask(each) for each in ours.values())))

    def key_for(self, url: str) -> str | None:
        """The API key for the server at a base address."""
        where = place(url)
        return next((each.key for each in self._wanted() if each.key and place(each.url) == where), None)

    async def refresh(self, *, automatic: bool = False) -> None:
        """Ask every server and every port that we look at, all at once; ports that refused rest when `automatic`."""
        async with self._refreshing:
            self._looked_at = time.monotonic()
            wanted = self._places()
            self._book.keep_only(wanted.keys())
            due = self._book.due(wanted) if automatic else wanted
            answers = await asyncio.gather(*(self._ask(each) for each in due.values()))
            for (where, each), found in zip(due.items(), answers, strict=True):
                self._book.take(where, each, found)
            await server_owners.look(self._owners, list(self._book.known.values()))
            self._book.publish()

    async def look_again(self, name: str) -> None:
        """Ask the server of that name anew, in the list or not: there is reason to think that it came or went."""
        found = next(((where, each) for where, each in self._places().items() if each.name == name), None)
        if found is None:
            return
        where, wanted = found
        async with self._refreshing:
            if where in self._book.known and self._book.known[where].doing is not None:
                return
            self._book.take(where, wanted, await self._ask(wanted))
            if where in self._book.known:
                await server_owners.look(self._owners, [self._book.known[where]])
            self._book.publish()

    async def catch_up(self) -> None:
        """Look again if the last look was long ago; slow servers are not waited for longer than CATCH_UP_SECONDS."""
        if self._looked_at is not None and time.monotonic() - self._looked_at > REFRESH_SECONDS:
            await asyncio.wait([spawn(self._refresh_quietly(), name="look at servers")], timeout=CATCH_UP_SECONDS)

    async def verify(self, url: str, key: str | None) -> FoundServer:
        """What answers at an address, which is not made known by that. Raises AppError `bad_address`."""
        return await self._ask(Wanted(server_list.address_of(url, None), Origin.FOUND, key=key or None))

    async def add(self, new: ServerCreate) -> BackendView:
        """Make a server known and ask what it is; one that is down is added too, and its view says so.

        Raises AppError: `bad_address`, `server_known`, `own_address`, `name_taken`, `not_a_model_server`, or what the
        owner answers when it is asked about its service.
        """
        url = server_list.address_of(new.url, new.kind)
        self._check_new(url, new.name)
        if new.owner is not None and new.owner.kind in CONTROLLED:
            await self._owners.status(new.owner)
        wanted = Wanted(url, Origin.ADDED, kind=new.kind, owner=new.owner, key=new.api_key or None)
        found = await self._ask(wanted)
        if found.kind is None and found.product != NOTHING:
            raise AppError(
                "not_a_model_server",
                f"What answers at {url} is no language-model server ({found.title}).",
                "Check the address, or say which kind of server it is.",
            )
        kind = new.kind or found.kind
        owner = new.owner or await server_owners.owner_at(self._owners, url)
        name = new.name or self._book.new_name(found)
        await self._rows.write(replace(wanted, name=name, kind=kind, owner=owner))
        await self.refresh()
        return view_of(self._book.known[place(url)])

    async def use_key(self, name: str, key: str | None) -> BackendView:
        """Ask the server with another key from now on, or with none, and see what it says.

        Raises AppError `key_in_settings` (409) where the settings say which key it gets.
        """
        known = self._book.idle(name)
        if known.wanted.origin is Origin.SETTINGS:
            raise AppError("key_in_settings", f"The settings hold the key of “{name}”.", "Change it there.", status=409)
        await self._keep(known)
        if key:
            await self._rows.write(replace(known.wanted, key=key))
        else:
            await self._rows.forget_key(name)
        await self.look_again(name)
        return view_of(self._book.get(name))

    async def remove(self, name: str) -> None:
        """Forget a server that was added. Raises AppError for one that is there for another reason."""
        known = self._book.idle(name)
        if known.wanted.origin is not Origin.ADDED:
            in_settings = known.wanted.origin is Origin.SETTINGS
            raise AppError(
                "not_added",
                f"“{name}” is in the settings." if in_settings else f"“{name}” was found because it answers.",
                "Take its address out of the settings." if in_settings else "It goes from the list when it stops.",
                status=409,
            )
        await self._rows.remove(name)
        await self.refresh()

    async def act(self, name: str, action: str) -> BackendView:
        """`start`, `stop` or `restart` through the server's owner; returns when the server itself agrees.

        Raises AppError: `not_ours`, `server_busy`, `server_not_ready`, or what the owner says.
        """
        known = self._book.idle(name)
        if not known.controlled:
            raise not_ours(known.owner)
        known.doing = BackendState.STOPPING if action == "stop" else BackendState.STARTING
        known.error = None
        self._book.publish()
        try:
            await self._keep(known)
            patience = float(self._settings().load_timeout)
            await server_actions.perform(self._owners, known, action, ask=self._ask_known, load_timeout=patience)
        except AppError as error:
            known.error = error.sentence
            raise
        finally:
            known.doing = None
            known.found = await self._ask_known(known)
            await server_owners.look(self._owners, [known])
            self._book.publish()
        return view_of(known)

    async def logs(self, name: str, tail: int) -> list[LogLine]:
        """The newest lines that the server's owner keeps. Raises AppError `no_log` where we cannot see any."""
        return await self._owners.logs(self._book.get(name).owner, tail)

    def _wanted(self) -> list[Wanted]:
        return [*self._rows.wanted, *server_list.from_settings(self._settings())]

    def _places(self) -> dict[Place, Wanted]:
        return server_list.once(self._wanted(), self._own_ports())

    async def _ask(self, wanted: Wanted) -> FoundServer:
        """What answers there now, told under the address and the kind by which we know it."""
        assert self._http is not None
        reached = aliased(wanted.url, self._settings().loopback_alias)
        found = await probe(self._http, reached, wanted.key)
        expected = wanted.kind if wanted.origin is not Origin.FOUND and found.product != NOTHING else None
        kind = expected or found.kind
        models = [each.model_copy(update={"url": wanted.url, "backend": kind}) for each in found.models]
        return found.model_copy(update={"url": wanted.url, "kind": kind, "models": models})

    async def _ask_known(self, known: Known) -> FoundServer:
        return await self._ask(known.wanted)

    def _check_new(self, url: str, name: str | None) -> None:
        where = place(url)
        settled = [each for each in self._wanted() if each.origin is not Origin.FOUND]
        if (before := next((each for each in settled if place(each.url) == where), None)) is not None:
            raise AppError("server_known", f"{url} is known already, as “{before.name}”.", "", status=409)
        if is_loopback(url) and where.port in self._own_ports():
            raise AppError("own_address", f"{url} is Quarterdeck itself.", "Give the address of another server.")
        if name is not None:
            self._book.check_name(name, where, settled)

    async def _keep(self, known: Known) -> None:
        """What a person controls stays in the list when it is stopped, also over a restart of Quarterdeck."""
        if known.wanted.origin is Origin.FOUND:
            known.wanted = replace(
                known.wanted, origin=Origin.ADDED, name=known.name, kind=known.kind, owner=known.owner
            )  # fmt: skip
            await self._rows.write(known.wanted)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            if self._watched():
                await self._refresh_quietly()

    async def _refresh_quietly(self) -> None:
        try:
            await self.refresh(automatic=True)
        except AppError as error:
            _log.warning("the servers could not be looked at: %s", error.sentence)
