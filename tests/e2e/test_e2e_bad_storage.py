"""Ports, disks and databases that refuse: a clear error, exit code 1, and nothing is lost."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from serve_process import STARTER, Finished, Serve, command, serving, stored, wait_for
from small_disk import SmallDisk

pytestmark = pytest.mark.engine


@pytest.fixture
def data(tmp_path: Path, starter_file: object) -> Path:
    """A data folder that has been used: its starter model is marked compatible and has notes."""
    folder = tmp_path / "data"
    use(folder)
    return folder


@pytest.fixture
def disk(small_disk: SmallDisk, starter_file: object) -> SmallDisk:
    """A small disk with such a data folder."""
    use(small_disk.data_dir)
    return small_disk


def use(folder: Path) -> None:
    done = command(folder, "set-status", STARTER, "compatible", "--notes", "mine")
    assert done.code == 0, done.err


def serve_fails(data_dir: Path, *arguments: str, prefix: tuple[str, ...] | list[str] = ()) -> list[str]:
    """`serve` ends with 1, prints nothing on stdout, and says on stderr what happened and what to do."""
    done = command(data_dir, "serve", "--port", "0", *arguments, prefix=prefix)
    return told(done)


def told(done: Finished) -> list[str]:
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err
    sentence, hint = done.err.splitlines()
    assert sentence.endswith(".")
    assert hint.endswith(".")
    return [sentence, hint]


def is_as_before(data_dir: Path) -> None:
    with serving(data_dir) as serve:
        model = serve.model()
        assert (model["status"], model["notes"], model["total_loads"]) == ("compatible", "mine", 0)
        assert serve.err == ""
        assert serve.terminate() == 0


def test_a_port_in_use_names_its_owner(data: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as owner:
        port = owner.getsockname()[1]
        sentence, _ = serve_fails(data, "--port", str(port))
    assert f"Port {port} " in sentence
    assert f"(process {os.getpid()})" in sentence
    is_as_before(data)


def test_an_address_of_the_network_is_refused(data: Path) -> None:
    sentence, _ = serve_fails(data, "--host", "0.0.0.0")
    assert "0.0.0.0" in sentence


def test_a_damaged_database_is_set_aside_and_reported(data: Path, tmp_path: Path) -> None:
    database = data / "quarterdeck.db"
    content = database.read_bytes()
    damaged = content[:4096] + os.urandom(len(content) - 4096)
    database.write_bytes(damaged)
    with serving(data) as serve:
        issue = serve.issues()["database_damaged"]
        [kept] = data.glob("quarterdeck.damaged-*.db")
        assert kept.read_bytes() == damaged
        assert str(kept) in issue["hint"]
        assert "damaged" in serve.err
        assert (serve.model()["status"], serve.model()["notes"]) == ("unknown", "")
        assert serve.terminate() == 0
    assert list(stored(data, tmp_path / "copy").models) == [STARTER]


def test_a_newer_database_is_refused_and_left_alone(data: Path) -> None:
    database = data / "quarterdeck.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    content = database.read_bytes()
    for sentence, _ in (serve_fails(data), told(command(data, "models"))):
        assert "9999" in sentence
        assert "newer" in sentence
    assert database.read_bytes() == content


def test_a_folder_without_permission_is_refused(data: Path, without_rights: list[str]) -> None:
    data.chmod(0o500)
    for sentence, _ in (
        serve_fails(data, prefix=without_rights),
        told(command(data, "models", prefix=without_rights)),
    ):
        assert str(data) in sentence
        assert "permission denied" in sentence
    data.chmod(0o700)
    is_as_before(data)


def test_a_read_only_disk_is_refused(disk: SmallDisk) -> None:
    disk.make_read_only()
    sentence, _ = serve_fails(disk.data_dir)
    assert str(disk.data_dir) in sentence
    assert "read-only" in sentence
    disk.make_read_only(False)
    is_as_before(disk.data_dir)


def test_a_full_disk_at_the_start_is_reported(disk: SmallDisk) -> None:
    disk.fill()
    sentence, hint = serve_fails(disk.data_dir)
    assert "space" in sentence
    assert "Free some space" in hint
    disk.empty()
    is_as_before(disk.data_dir)


def test_a_full_disk_at_the_first_start_is_reported(small_disk: SmallDisk) -> None:
    small_disk.fill()
    sentence, hint = serve_fails(small_disk.data_dir)
    assert "space" in sentence
    assert "Free some space" in hint
    small_disk.empty()
    with serving(small_disk.data_dir) as serve:
        assert serve.model()["status"] == "unknown"
        assert serve.terminate() == 0


@pytest.fixture
def on_disk(disk: SmallDisk) -> Iterator[Serve]:
    with serving(disk.data_dir) as serve:
        yield serve


def test_a_disk_that_is_full_when_a_load_begins_refuses_the_load(disk: SmallDisk, on_disk: Serve) -> None:
    disk.fill()
    answer = on_disk.load()
    body = answer.json()
    assert (answer.status_code, body["code"]) == (507, "disk_full")
    done = command(disk.data_dir, "load", STARTER)
    assert told(done) == [body["detail"], body["hint"]]
    model = on_disk.model()
    assert (model["status"], model["notes"], model["phase"]) == ("compatible", "mine", "unloaded")
    assert on_disk.engines() == []
    assert on_disk.attempts() == []
    disk.empty()
    assert on_disk.load().status_code == 200
    assert on_disk.terminate() == 0


def test_a_result_that_cannot_be_written_is_written_when_there_is_space_again(disk: SmallDisk, on_disk: Serve) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(on_disk.load)
        wait_for(lambda: (on_disk.model()["progress"] or {}).get("stage") == "reading the model", "the file is read")
        disk.fill()
        answer = loading.result()
    assert answer.status_code == 200
    assert "result_not_saved" in on_disk.issues()
    assert [attempt["outcome"] for attempt in on_disk.attempts()] == ["running"]
    disk.empty()
    wait_for(lambda: on_disk.attempts()[0]["outcome"] == "loaded", "the result is saved")
    wait_for(lambda: "result_not_saved" not in on_disk.issues(), "the issue is gone")
    model = on_disk.model()
    assert (model["status"], model["total_loads"], model["loaded"]) == ("compatible", 1, True)
    assert on_disk.terminate() == 0


def test_a_result_that_could_never_be_written_counts_as_interrupted(disk: SmallDisk, on_disk: Serve) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(on_disk.load)
        wait_for(lambda: (on_disk.model()["progress"] or {}).get("stage") == "reading the model", "the file is read")
        disk.fill()
        assert loading.result().status_code == 200
    assert on_disk.terminate() == 0
    assert on_disk.engines() == []
    disk.empty()
    with serving(disk.data_dir) as again:
        model = again.model()
        assert (model["status"], model["total_loads"]) == ("incompatible", 0)
        assert model["notes"].endswith("\nmine")
        assert f"{STARTER} is now incompatible" in again.err
        assert again.terminate() == 0
