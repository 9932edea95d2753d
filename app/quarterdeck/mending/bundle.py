"""A zip file with what somebody elsewhere needs to understand a problem, and nothing that is secret."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from quarterdeck.backends.logs import LogBook
from quarterdeck.diagnosis.doctor.secrets import HIDDEN, masked

LOG_LINES = 2000

Part = Callable[[], Awaitable[object]]

_SECRET_NAME = re.compile(r"key|token|secret|password|authorization|cookie", re.IGNORECASE)


class Bundle:
    """Collects `parts` by name as JSON, and the ends of all logs."""

    def __init__(self, parts: Mapping[str, Part], logs: Mapping[str, LogBook]) -> None:
        self._parts = parts
        self._logs = logs

    async def make(self) -> bytes:
        """The zip file. A part that fails is told in its place."""
        texts: dict[str, str] = {}
        for name, part in self._parts.items():
            try:
                told = _plain(await part())
            except Exception as error:  # noqa: BLE001 - a bundle is asked for when things fail
                told = {"not collected": f"{type(error).__name__}: {error}"}
            texts[f"{name}.json"] = json.dumps(cleaned(told), indent=2, ensure_ascii=False, default=str)
        for source, book in self._logs.items():
            lines = [line.text for line in book.tail(LOG_LINES)]
            texts[f"logs/{_file_name(source)}.log"] = "\n".join(map(masked, lines))
        return await asyncio.to_thread(_zip, texts)


def cleaned(value: Any) -> Any:
    """The same JSON value without what names itself a secret, and without secrets inside of texts."""
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN if entry and isinstance(entry, str) and _SECRET_NAME.search(str(key)) else cleaned(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [cleaned(entry) for entry in value]
    return masked(value) if isinstance(value, str) else value


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value


def _file_name(source: str) -> str:
    return re.sub(r"[^\w.-]+", "_", source)


def _zip(texts: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    now = datetime.now(UTC).timetuple()[:6]
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, now), text.encode("utf-8", "replace"), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
