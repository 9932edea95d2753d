"""Loads from the wish to the answer: who waits for them, how they are cancelled, what comes back after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.scheduling import refusals
from quarterdeck.scheduling.fleet import Fleet
from quarterdeck.scheduling.protocol import Protocol
from quarterdeck.scheduling.queue import Line
from quarterdeck.scheduling.state import CancelledByPersonError, Load, Loaded, now
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import LoadResult, ModelView, Phase
from quarterdeck.tasks import spawn

UNWANTED = "nobody waits for it any more"


class Loads:
    """Begins, joins and ends loads. Core loop only."""

    def __init__(self, line: Line, fleet: Fleet, protocol: Protocol) -> None:
        self.closing = False
        self._line = line
        self._fleet = fleet
        self._protocol = protocol

    def begin(
        self, view: ModelView, config: dict[str, Any] | None, *, forced: bool = False, restores: bool = False
    ) -> Load:
        """Put a load into the line, with the model's own config where none is given."""
        load = Load(
            view=view,
            config=parse_load_config(view.load_config) if config is None else config,
            forced=forced,
            on_budget=self._fleet.on_budget(view),
            queued_at=now(),
            restores=restores,
        )
        if not restores:
            self._send_restoring_away(view)
        self._line.join(load)
        self._fleet.catalog.set_phase(load.name, Phase.QUEUED)
        load.task = spawn(self._run(load), name=f"load {load.name}")
        return load

    async def wait_asked(self, load: Load) -> LoadResult:
        """Wait as the person who wants it; going away does not end the load."""
        load.asked.set()
        assert load.task is not None
        return await asyncio.shield(load.task)

    async def wait_ticket(self, load: Load) -> Loaded | None:
        """Wait as a request, which then has a place at the model; None when the model went away again at once.

        A load that no request waits for any more, and that no person wants, is cancelled.
        """
        ticket: asyncio.Future[Loaded | None] = asyncio.get_running_loop().create_future()
        load.tickets.add(ticket)
        self._line.update()
        try:
            return await ticket
        except asyncio.CancelledError:
            self._give_back(load, ticket)
            raise

    def ask_to_end(self, load: Load, reason: str, refusal: AppError | None = None) -> None:
        """Cancel a load, once: a second time would cut off the stopping of its engine. `refusal` is its answer."""
        if load.cancel_reason is None:
            load.cancel_reason, load.refusal = reason, refusal
            if load.step is not None:
                self._fleet.catalog.set_phase(load.name, Phase.CANCELLING)
                load.step.cancel()

    def restore(self, models: Sequence[Loaded]) -> None:
        """Load models again that went for nothing, as far as they exist and nothing else takes their place."""
        if self.closing:
            return
        for each in models:
            if each.name not in self._line and self._fleet.held(each.name) is None:
                try:
                    view = self._fleet.catalog.get(each.name)
                except AppError:
                    continue
                self.begin(view, each.config, forced=each.forced, restores=True)

    def _send_restoring_away(self, view: ModelView) -> None:
        """A load that only restores a model gives way to one that is wanted and needs its place."""
        for load in self._line:
            if load.restores and load.unwanted and self._fleet.compete(load.view, view):
                self.ask_to_end(load, "another model is wanted")

    def _give_back(self, load: Load, ticket: asyncio.Future[Loaded | None]) -> None:
        load.tickets.discard(ticket)
        if ticket.done() and not ticket.cancelled() and ticket.exception() is None:
            if (loaded := ticket.result()) is not None:
                self._fleet.leave(loaded)
        elif load.unwanted and not load.restores and not load.ended.is_set():
            self.ask_to_end(load, UNWANTED)
        self._line.update()

    async def _run(self, load: Load) -> LoadResult:
        failure: BaseException = refusals.cancelled(load.name, "its work was cut off")
        done = False
        try:
            answer = await self._protocol.run(load)
            done = True
            return answer
        except CancelledByPersonError:
            failure = load.refusal or refusals.cancelled(load.name, load.cancel_reason or "")
            raise failure from None
        except Exception as error:
            failure = error
            raise
        finally:
            self._finish(load, None if done else failure)

    def _finish(self, load: Load, failure: BaseException | None) -> None:
        """Answer all who wait, give up the turn, and bring back what went for nothing."""
        for ticket in load.tickets:
            if not ticket.done():
                self._answer(load, ticket, failure)
        load.tickets.clear()
        self._line.leave(load)
        cancelled = load.cancel_reason is not None
        error = failure.sentence if isinstance(failure, AppError) and not cancelled else None
        self._fleet.rest(load.name, error)
        if failure is not None and not cancelled and not any(other.on_budget for other in self._line):
            self.restore(load.evicted)
        load.ended.set()

    def _answer(self, load: Load, ticket: asyncio.Future[Loaded | None], failure: BaseException | None) -> None:
        if failure is not None:
            ticket.set_exception(failure)
        else:
            assert load.loaded is not None
            ticket.set_result(self._fleet.place(load.loaded))
