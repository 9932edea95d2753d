"""Finding a core, and connecting to the right one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from quarterdeck.client.connection import connect, token_for
from quarterdeck.client.discovery import find_core
from quarterdeck.errors import AppError
from quarterdeck.settings import Folders


@pytest.fixture
def places(tmp_path: Path) -> Folders:
    return Folders(tmp_path, tmp_path)


def write_lock(places: Folders, **changes: Any) -> None:
    own = {
        "pid": os.getpid(),
        "create_time": psutil.Process().create_time(),
        "control_url": "http://127.0.0.1:1",
        "public_url": None,
    }
    places.lock_file.write_text(json.dumps(own | changes), encoding="utf-8")
    places.token_file.write_text("secret\n", encoding="ascii")


class OwnCore:
    """Stands for a core in this process."""

    control_url = "http://127.0.0.1:2"
    token = "own"

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


def never() -> OwnCore:
    raise AssertionError("no core was to be started")


def test_a_running_core_is_found(places: Folders) -> None:
    write_lock(places, public_url="http://127.0.0.1:8100")
    found = find_core(places)
    assert found is not None
    assert found == ("http://127.0.0.1:1", "secret", "http://127.0.0.1:8100")


def test_no_file_no_core(places: Folders) -> None:
    assert find_core(places) is None


def test_a_core_that_died_is_not_found(places: Folders) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    write_lock(places, pid=child.pid, create_time=time.time())
    assert find_core(places) is None


def test_a_later_process_with_the_same_pid_is_no_core(places: Folders) -> None:
    write_lock(places, create_time=psutil.Process().create_time() - 100)
    assert find_core(places) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": 1}', '{"pid": null}', "\x00", '{"pid": -5}']
)
def test_a_damaged_file_is_no_core(places: Folders, content: str) -> None:
    write_lock(places)
    places.lock_file.write_text(content, encoding="utf-8")
    assert find_core(places) is None


def test_without_its_token_a_core_is_of_no_use(places: Folders) -> None:
    write_lock(places)
    places.token_file.unlink()
    assert find_core(places) is None


async def test_the_core_named_by_address_comes_first(places: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lock(places)
    async with connect(places, url="http://127.0.0.1:3", token="given", start_core=never) as connection:
        assert (connection.client.base_url, connection.momentary) == ("http://127.0.0.1:3", False)


async def test_then_the_one_that_runs(places: Folders) -> None:
    write_lock(places)
    async with connect(places, url=None, token=None, start_core=never) as connection:
        assert (connection.client.base_url, connection.momentary) == ("http://127.0.0.1:1", False)


async def test_else_one_is_started_and_stopped_again(places: Folders) -> None:
    own = OwnCore()
    with pytest.raises(KeyError):
        async with connect(places, url=None, token=None, start_core=lambda: own) as connection:
            assert (connection.client.base_url, connection.momentary) == ("http://127.0.0.1:2", True)
            assert not own.stopped
            raise KeyError
    assert own.stopped


async def test_a_core_that_is_just_starting_is_waited_for(places: Folders) -> None:
    def taken() -> OwnCore:
        asyncio.get_running_loop().call_later(0.3, write_lock, places)
        raise AppError("core_running", "Another Quarterdeck already works here.", status=409)

    async with connect(places, url=None, token=None, start_core=taken) as connection:
        assert connection.client.base_url == "http://127.0.0.1:1"
        assert not connection.momentary


async def test_another_error_of_the_start_is_not_waited_out(places: Folders) -> None:
    def full() -> OwnCore:
        raise AppError("disk_full", "There is no space left.", status=507)

    with pytest.raises(AppError, match="no space"):
        async with connect(places, url=None, token=None, start_core=full):
            pass


async def test_a_core_that_does_not_answer_is_named(places: Folders) -> None:
    async with connect(places, url="http://127.0.0.1:9", token="x", start_core=never) as connection:
        with pytest.raises(AppError) as caught:
            await connection.client.models()
    assert caught.value.code == "core_unreachable"
    assert "http://127.0.0.1:9" in caught.value.sentence


def test_the_token_is_given_or_in_the_environment_or_in_the_folder(
    places: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AppError) as caught:
        token_for(None, places)
    assert caught.value.code == "token_missing"
    places.token_file.write_text("of the folder\n", encoding="ascii")
    assert token_for(None, places) == "of the folder"
    monkeypatch.setenv("QUARTERDECK_TOKEN", "of the environment")
    assert token_for(None, places) == "of the environment"
    assert token_for("given", places) == "given"
