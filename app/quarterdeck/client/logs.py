"""`quarterdeck backends logs`: the newest lines, and those that come."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from quarterdeck.client.api import ApiClient
from quarterdeck.client.output import out, plain
from quarterdeck.schemas.backends import LogLine, OwnerKind
from quarterdeck.schemas.events import Topic

LOOK_SECONDS = 1.0


async def show(client: ApiClient, arguments: argparse.Namespace) -> int:
    """Goes on until Ctrl+C with `follow`."""
    lines = await client.logs(arguments.name)
    out([plain(line) for line in lines] if arguments.json else "\n".join(line.text for line in lines))
    if arguments.follow:
        if await _kept_elsewhere(client, arguments.name):
            await _ask_again(client, arguments.name, lines)
        await _listen(client, arguments.name)
    return 0


def news(known: Sequence[LogLine], lines: Sequence[LogLine]) -> list[LogLine]:
    """Those of `lines` that came after the `known` ones; their numbers begin anew with every answer."""
    if not known:
        return list(lines)
    last = known[-1]
    for place in range(len(lines) - 1, -1, -1):
        if (lines[place].at, lines[place].text) == (last.at, last.text):
            return list(lines[place + 1 :])
    return [line for line in lines if line.at > last.at]


async def _listen(client: ApiClient, name: str) -> None:
    async for event in client.events([Topic.LOG]):
        if event.topic is Topic.LOG and event.data["source"] == name:
            out("\n".join(line["text"] for line in event.data["lines"]))


async def _ask_again(client: ApiClient, name: str, known: Sequence[LogLine]) -> None:
    """Nobody tells of the lines that systemd and Docker keep."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        lines = await client.logs(name)
        if fresh := news(known, lines):
            out("\n".join(line.text for line in fresh))
        known = lines or known


async def _kept_elsewhere(client: ApiClient, name: str) -> bool:
    view = next((view for view in await client.backends() if view.name == name), None)
    return view is not None and view.owner.kind in (OwnerKind.SYSTEMD, OwnerKind.DOCKER)
