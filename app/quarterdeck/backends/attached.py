"""Models on servers that somebody else runs: asked over HTTP, watched while they are in use, never stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quarterdeck.backends.addresses import aliased, base_url, is_this_machine
from quarterdeck.backends.base import ExitReport, Instance, Target
from quarterdeck.backends.remote import Remote, ServerLate, ServerUnreachable
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendState, BackendView
from quarterdeck.tasks import spawn

WATCH_SECONDS = 2.0
MISSES = 3
"""How often in a row a server may fail to answer before its model counts as gone."""

_NAMED_AT_MOST = 5

Headers = Callable[[str], Mapping[str, str]]
"""The headers (keys) that go with requests to a server at a url."""


def no_headers(_url: str) -> Mapping[str, str]:
    return {}


class Reach:
    """How servers that others run are reached: under which address, and with which keys.

    `alias` gives the name that stands for this machine's loopback, as needed inside a container. Keys belong to
    addresses as they were written, before that.
    """

    def __init__(self, alias: Callable[[], str], headers: Headers) -> None:
        self._alias = alias
        self._headers = headers
        self._written: dict[str, str] = {}

    def address(self, written: str) -> str:
        """The base address to use for one that somebody wrote. Raises AppError `bad_address`."""
        base = base_url(written)
        reached = aliased(base, self._alias())
        self._written[reached] = base
        return reached

    def headers(self, address: str) -> Mapping[str, str]:
        return self._headers(self._written.get(address, address))

    def is_here(self, address: str) -> bool:
        """Whether that server shares this machine's memory."""
        return is_this_machine(address, self._alias())


async def models_of(remote: Remote, url: str, who: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of a server's model list. Raises AppError when it does not answer, or not like that."""
    answer = await remote.json("GET", f"{url}/v1/models", who=who, headers=headers)
    entries = answer.get("data") if isinstance(answer, dict) else None
    return [entry for entry in entries if isinstance(entry, dict) and "id" in entry] if entries else []


def served(entries: list[dict[str, Any]], url: str, wanted: str) -> dict[str, Any]:
    """The entry with the id `wanted`. Raises AppError `model_not_served`, which names what there is."""
    for entry in entries:
        if wanted in (entry["id"], *(entry.get("aliases") or ())):
            return entry
    ids = [str(entry["id"]) for entry in entries]
    named = ", ".join(f"“{each}”" for each in ids[:_NAMED_AT_MOST]) or "no model"
    raise AppError(
        "model_not_served",
        f"The server at {url} does not have “{wanted}”; it has {named}{' and others' * (len(ids) > _NAMED_AT_MOST)}.",
        "Correct the name under which the server has the model, or load it there.",
        status=404,
        details={"served": ids},
    )


def not_ours(title: str, instance: Instance) -> AppError:
    return AppError(
        "not_ours",
        f"“{instance.model}” is held by a {title} server at {instance.base_url} that Quarterdeck did not start.",
        f"Stop that server, or let Quarterdeck start {title} for this model.",
        status=409,
    )


class Attachments:
    """The attached models of one backend; each server is looked at every WATCH_SECONDS while a model is attached.

    `has` tells whether a server still has a model; it raises AppError when it does not answer.
    """

    def __init__(self, has: Callable[[Instance], Awaitable[bool]]) -> None:
        self._has = has
        self._watching: dict[Instance, asyncio.Task[None]] = {}

    def __contains__(self, instance: Instance) -> bool:
        return instance in self._watching

    def attach(self, target: Target, url: str, served_id: str, headers: Mapping[str, str]) -> Instance:
        """The instance for a model that the server at `url` has under `served_id`."""
        instance = Instance(
            target.name, url, None, None, asyncio.get_running_loop().create_future(), time.monotonic(),
            served_id=served_id, headers=headers,
        )  # fmt: skip
        self._watching[instance] = spawn(self._watch(instance), name=f"watch {url}")
        return instance

    def detach(self, instance: Instance) -> None:
        """Forget `instance`; its server goes on."""
        self._watching.pop(instance).cancel()
        if not instance.exited.done():
            instance.exited.set_result(ExitReport(None, None, asked_for=True))

    def close(self) -> None:
        for instance in list(self._watching):
            self.detach(instance)

    async def _watch(self, instance: Instance) -> None:
        missed = 0
        gone = ""
        while not gone:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                missed, gone = 0, "" if await self._has(instance) else "no longer has the model"
            except (ServerUnreachable, ServerLate):
                missed += 1
                gone = "does not answer any more" if missed == MISSES else ""
            except AppError:
                missed = 0  # It answers: with an error, but it is there.
        del self._watching[instance]
        instance.exited.set_result(ExitReport(None, None, outside=f"The server at {instance.base_url} {gone}."))


def without_stop(view: BackendView) -> BackendView:
    """The view of a backend all of whose models are on servers that are not ours."""
    if view.state is BackendState.RUNNING and not any(instance.pid for instance in view.instances):
        view.actions = []
    return view
