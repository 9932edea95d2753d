"""Keys of servers: kept for their owner only, whole or not at all, and never shown."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.settings import Folders
from quarterdeck.storage.secrets import FILE_NAME, Secrets


def opened(places: Folders) -> Secrets:
    places.data.mkdir(parents=True, exist_ok=True)
    secrets = Secrets(places)
    secrets.open()
    return secrets


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_what_is_set_is_there_after_a_restart(places: Folders) -> None:
    secrets = opened(places)
    await secrets.set("server:a", "sk-one")
    await secrets.set("server:b", "sk-two")
    await secrets.set("server:a", "sk-three")
    await secrets.remove("server:b")
    await secrets.remove("server:never")

    again = opened(places)

    assert again.get("server:a") == "sk-three"
    assert again.get("server:b") is None


async def test_only_the_owner_can_read_it(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = os.open

    def spy(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        made.append(mode)
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", spy)
    await opened(places).set("a", "b")

    assert mode(places.data / FILE_NAME) == 0o600
    assert made == [0o600], "never readable by others, not even for a moment"


async def test_a_file_that_others_could_read_is_closed(places: Folders, caplog: pytest.LogCaptureFixture) -> None:
    await opened(places).set("a", "sk-hidden")
    (places.data / FILE_NAME).chmod(0o644)

    assert opened(places).get("a") == "sk-hidden"
    assert mode(places.data / FILE_NAME) == 0o600
    assert "sk-hidden" not in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '"text"', "\x00"])
def test_a_damaged_file_is_set_aside(places: Folders, caplog: pytest.LogCaptureFixture, content: str) -> None:
    places.data.mkdir(parents=True)
    (places.data / FILE_NAME).write_text(content, encoding="utf-8")
    (places.data / FILE_NAME).chmod(0o600)

    with caplog.at_level(logging.WARNING):
        secrets = opened(places)

    assert secrets.get("a") is None
    assert (places.data / "secrets.damaged.json").read_text(encoding="utf-8") == content
    assert "must be given again" in caplog.text


async def test_a_disk_that_refuses_leaves_the_old_keys(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = opened(places)
    await secrets.set("a", "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AppError):
        await secrets.set("a", "new")

    assert secrets.get("a") == "old"
    assert json.loads((places.data / FILE_NAME).read_text(encoding="utf-8")) == {"a": "old"}


async def test_many_at_once_all_arrive(places: Folders) -> None:
    secrets = opened(places)

    await asyncio.gather(*(secrets.set(f"server:{number}", str(number)) for number in range(20)))

    again = opened(places)
    assert [again.get(f"server:{number}") for number in range(20)] == [str(number) for number in range(20)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(name=st.text(), secret=st.text())
def test_any_text_comes_back_as_it_was(places: Folders, name: str, secret: str) -> None:
    secrets = opened(places)

    asyncio.run(secrets.set(name, secret))

    assert opened(places).get(name) == secret
