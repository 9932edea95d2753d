"""The loads under way and the model that holds the machine, as the scheduler keeps them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from quarterdeck.backends.base import Backend, Instance
from quarterdeck.compatibility.journal import Begun
from quarterdeck.schemas.models import LoadResult, ModelView


@dataclass(eq=False, slots=True)
class Load:
    """One load under way. `step` is the part that a cancel may interrupt."""

    view: ModelView
    config: dict[str, Any]
    forced: bool
    step: asyncio.Task[Any] | None = None
    task: asyncio.Task[LoadResult] | None = None
    begun: Begun | None = None
    started_at: float = field(default_factory=time.monotonic)
    usual_s: float | None = None
    cancel_reason: str | None = None
    succeeded: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model that holds the machine."""

    view: ModelView
    backend: Backend
    instance: Instance
    config: dict[str, Any]
    forced: bool
    attempt_id: int


class CancelledByPersonError(Exception):
    """A step of a load ended because somebody cancelled the load."""


def result(view: ModelView, seconds: float | None) -> LoadResult:
    """The answer to a load; `seconds` is None when the model was loaded already."""
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return LoadResult(
        message=f"{view.name} is loaded{took}.",
        model_id=view.served_name,
        model_name=view.name,
        parameter_count=view.parameter_count,
        model_type=view.architecture,
        compatibility_status=view.status,
        load_seconds=seconds,
    )
