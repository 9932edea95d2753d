"""What is known of each server of the list, and telling others what changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from quarterdeck.backends.probe import NOTHING
from quarterdeck.errors import AppError
from quarterdeck.scheduling import server_list
from quarterdeck.scheduling.server_list import GUEST, Known, Origin, Place, Wanted, place
from quarterdeck.scheduling.server_views import same, view_of
from quarterdeck.schemas.backends import BackendKind, BackendView
from quarterdeck.schemas.discovery import FoundServer, ServerState

REFUSED_SECONDS = 60.0
"""After a refusal a port is left alone for so long, unless somebody asks."""
KINDS = frozenset(kind.value for kind in BackendKind)

Changed = Callable[[str, BackendView | None], None]
"""Called with the name of a server and its new view; None when it is no longer in the list."""


class ServerBook:
    """The entries of the list by place. `passing` is what answers, but is no language-model server."""

    def __init__(self, on_change: Changed) -> None:
        self.known: dict[Place, Known] = {}
        self.passing: dict[Place, FoundServer] = {}
        self._on_change = on_change
        self._left_alone: dict[Place, float] = {}
        self._shown: dict[str, BackendView] = {}

    @property
    def names(self) -> set[str]:
        return {known.name for known in self.known.values()}

    def get(self, name: str) -> Known:
        """Raises AppError `unknown_backend`."""
        known = next((each for each in self.known.values() if each.name == name), None)
        if known is None:
            raise AppError(
                "unknown_backend",
                f"There is no server named “{name}”.",
                f"Known: {', '.join(sorted(self.names)) or 'none'}.",
                status=404,
            )
        return known

    def idle(self, name: str) -> Known:
        """One that nobody is starting or stopping. Raises AppError `server_busy`, `unknown_backend`."""
        known = self.get(name)
        if known.doing is not None:
            raise AppError("server_busy", f"“{name}” is {known.doing.value}.", "Wait until that is done.", status=409)
        return known

    def views(self) -> list[BackendView]:
        return [view_of(known) for known in self.known.values()]

    def due(self, places: Mapping[Place, Wanted]) -> dict[Place, Wanted]:
        """The places that have not refused a moment ago."""
        now = time.monotonic()
        return {where: wanted for where, wanted in places.items() if self._left_alone.get(where, 0.0) <= now}

    def keep_only(self, places: Collection[Place]) -> None:
        """Drop what is no longer wanted."""
        for where in [where for where in self.known if where not in places]:
            self._drop(where)
        self.passing = {where: found for where, found in self.passing.items() if where in places}

    def take(self, where: Place, wanted: Wanted, found: FoundServer) -> None:
        """Keep what a server answered: as an entry of the list, or as something that is only passing."""
        self._left_alone.pop(where, None)
        if wanted.origin is Origin.FOUND:
            if found.state is ServerState.DOWN:
                self._left_alone[where] = time.monotonic() + REFUSED_SECONDS
            elif found.kind is not wanted.kind and found.product != NOTHING:
                wanted = Wanted(wanted.url, Origin.FOUND)
        known = self.known.get(where)
        if known is not None and _is_another(known, wanted, found):
            self._drop(where)
            known = None
        self.passing.pop(where, None)
        if known is not None:
            _update(known, wanted, found)
        elif wanted.origin is not Origin.FOUND or found.kind is not None:
            self.enter(where, wanted, found)
        elif found.product != NOTHING:
            self.passing[where] = found

    def enter(self, where: Place, wanted: Wanted, found: FoundServer) -> None:
        name = server_list.unused(wanted.name, self.names) if wanted.name else self.new_name(found)
        self.known[where] = Known(wanted, name, found, wanted.owner or GUEST)

    def publish(self) -> None:
        """Tell of every entry that is not as it was told before."""
        for view in self.views():
            if not same(self._shown.get(view.name), view):
                self._on_change(view.name, view)
            self._shown[view.name] = view

    def new_name(self, found: FoundServer) -> str:
        """A name that nobody has; an entry at the same place may keep its own."""
        product = found.kind.value if found.product == NOTHING and found.kind else server_list.product_name(found)
        here = self.known.get(place(found.url))
        others = self.names - {here.name} if here else self.names
        return server_list.unused(server_list.server_name(product, found.url), others | KINDS)

    def check_name(self, name: str, where: Place, settled: Iterable[Wanted]) -> None:
        """Raises AppError `name_taken` for a name that another server or an engine has."""
        others = {known.name for at, known in self.known.items() if at != where} | {each.name for each in settled}
        if name in others | KINDS:
            raise AppError("name_taken", f"There is a backend named “{name}” already.", "Choose another.", status=409)

    def _drop(self, where: Place) -> None:
        known = self.known.pop(where)
        if self._shown.pop(known.name, None) is not None:
            self._on_change(known.name, None)


def _is_another(known: Known, wanted: Wanted, found: FoundServer) -> bool:
    """Whether an entry stands for something that is no longer there."""
    if known.doing is not None:
        return False
    if wanted.origin is not known.wanted.origin or wanted.name != known.wanted.name:
        return True
    if wanted.origin is not Origin.FOUND:
        return False
    if found.state is ServerState.DOWN:
        return not known.controlled
    return found.product not in (NOTHING, known.found.product)


def _update(known: Known, wanted: Wanted, found: FoundServer) -> None:
    if found.product == NOTHING:
        # It is down, or too busy to say what it is: it still is what it was.
        models = [] if found.state is ServerState.DOWN else known.found.models
        silent = {"state": found.state, "detail": found.detail, "models": models}
        found = known.found.model_copy(update=silent)
    known.found = found
    if known.doing is None:
        known.wanted = wanted
