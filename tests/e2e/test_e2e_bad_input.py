"""Bad files and bad configurations, on the command line and in the API: a clear error, and nothing is lost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_process import STARTER, Serve, command, serving

pytestmark = pytest.mark.engine

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, starter_file: object, without_rights: list[str]) -> Iterator[Serve]:
    """One core for the whole file: no bad input may keep it from serving the next test."""
    with serving(tmp_path_factory.mktemp("bad") / "data", prefix=without_rights) as running:
        yield running
        assert running.terminate() == 0


@pytest.fixture(autouse=True)
def nothing_is_lost(serve: Serve) -> Iterator[None]:
    """The starter model stays as it is, no engine is left over and no model appears that a test has not kept."""
    before = serve.model()
    yield
    assert serve.model() == before
    assert serve.engines() == []
    for model in serve.http.get("/api/models").json():
        if model["name"] != STARTER:
            assert serve.http.delete(f"/api/models/{model['name']}").status_code == 204


def web_page(folder: Path) -> Path:
    path = folder / "page.gguf"
    path.write_text("<!DOCTYPE html><html><body>Not found</body></html>", encoding="utf-8")
    return path


def wrong_magic(folder: Path) -> Path:
    path = folder / "wrong.gguf"
    path.write_bytes(b"FUGG" + b"\3\0\0\0" * 1000)
    return path


def folder_named_so(folder: Path) -> Path:
    path = folder / "folder.gguf"
    path.mkdir()
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.gguf"


def empty(folder: Path) -> Path:
    path = folder / "empty.gguf"
    path.touch()
    return path


BAD_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an HTML page": (web_page, "It looks like a web page"),
    "wrong magic": (wrong_magic, "it starts with other bytes"),
    "an empty folder": (folder_named_so, "is empty"),
    "a missing file": (missing, "There is no file"),
    "an empty file": (empty, "is empty"),
}
CODES = {
    "an HTML page": "not_gguf",
    "wrong magic": "not_gguf",
    "an empty folder": "empty_folder",
    "a missing file": "file_missing",
    "an empty file": "empty_file",
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_with_the_reason(case: str, serve: Serve, tmp_path: Path) -> None:
    make, words = BAD_FILES[case]
    refuses_to_add(serve, make(tmp_path), CODES[case], words)


@pytest.mark.parametrize(
    ("size", "code", "words"),
    [
        (5 * MIB, "truncated_file", "is incomplete"),
        (100_000, "truncated_header", "in the middle of its header"),
        (6, "truncated_header", "in the middle of its header"),
    ],
)
def test_a_truncated_file_is_refused(
    size: int, code: str, words: str, serve: Serve, cut_model: Callable[[int], Path]
) -> None:
    refuses_to_add(serve, cut_model(size), code, words)


def test_an_unreadable_file_is_refused(serve: Serve, starter_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.gguf"
    shutil.copyfile(starter_file, path)
    path.chmod(0)
    refuses_to_add(serve, path, "file_unreadable", "Permission denied")


def refuses_to_add(serve: Serve, path: Path, code: str, words: str) -> None:
    """The API and the command line refuse `path` with the same sentence and hint, and no model appears."""
    answer = serve.add("bad", path)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (400, code)
    assert words in body["detail"]
    assert body["hint"]
    told = command(serve.data_dir, "models", "add", "bad", "--path", str(path))
    assert (told.code, told.out) == (1, "")
    assert told.err.splitlines() == [body["detail"], body["hint"]]
    assert serve.http.get("/api/models/bad").status_code == 404


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5 * MIB)


def remove(path: Path) -> None:
    path.unlink()


def lock(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize(
    ("change", "code"), [(truncate, "truncated_file"), (remove, "file_missing"), (lock, "file_unreadable")]
)
def test_a_file_that_changed_after_it_was_added_keeps_the_status(
    change: Callable[[Path], None], code: str, serve: Serve, starter_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "later.gguf"
    shutil.copyfile(starter_file, path)
    assert serve.add("later", path).status_code == 201
    serve.patch("later", compatibility_status="compatible").raise_for_status()
    change(path)
    fails_to_load(serve, "later", 424, code)
    assert serve.model("later")["status"] == "compatible"


def fails_to_load(serve: Serve, name: str, status: int, code: str) -> dict[str, Any]:
    """Both surfaces tell the same failure, and the journal and the notes keep it; the API's answer."""
    answer = serve.load(name)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert body["detail"]
    assert body["hint"]
    told = command(serve.data_dir, "load", name)
    assert (told.code, told.out) == (1, "")
    assert told.err.splitlines()[:2] == [body["detail"], body["hint"]]
    attempts = serve.attempts(name)
    assert [attempt["outcome"] for attempt in attempts] == ["failed", "failed"]
    assert body["detail"] in attempts[0]["error"]
    model = serve.model(name)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d · Load failed: ", model["notes"])
    assert (model["phase"], model["loaded"], model["last_error"]) == ("unloaded", False, body["detail"])
    return dict(body)


BAD_CONFIGS = {
    '{"n_ctx": }': ("bad_json", 1, 11),
    '{"n_ctx": 512,\n "n_batch" 64}': ("bad_json", 2, 12),
    "[1, 2]": ("bad_json", 1, 1),
    '{"n_ctx": 512,\n "wings": 2}': ("unknown_option", 2, 2),
    '{"n_ctx": "many"}': ("bad_load_config", 1, 2),
}


@pytest.mark.parametrize("text", BAD_CONFIGS)
def test_a_bad_load_config_is_refused_with_its_place(text: str, serve: Serve, starter_file: Path) -> None:
    expected = BAD_CONFIGS[text]
    for answer in (
        serve.patch(STARTER, load_config=text),
        serve.add("configured", starter_file, load_config=text),
        serve.load(load_config=text),
    ):
        body = answer.json()
        assert answer.status_code == 400
        assert (body["code"], body.get("line"), body.get("column")) == expected, body
        assert body["detail"]
        assert body["hint"]
    told = command(
        serve.data_dir, "models", "add", "configured", "--path", str(starter_file), "--load-config", text
    )  # fmt: skip
    assert (told.code, told.out) == (1, "")
    assert told.err.splitlines() == [body["detail"], body["hint"]]


def test_a_parameter_that_the_engine_does_not_know_is_named(serve: Serve, starter_file: Path) -> None:
    config = {"extra_args": {"wings": 2}}
    assert serve.add("extra", starter_file, load_config=config).status_code == 201
    body = fails_to_load(serve, "extra", 424, "bad_load_config")
    assert "wings" in body["detail"] + body["diagnosis"]["evidence"]
    assert serve.model("extra")["status"] == "unknown"


def test_an_unknown_model_is_named(serve: Serve) -> None:
    answer = serve.load("nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
    told = command(serve.data_dir, "load", "nobody")
    assert (told.code, told.out) == (1, "")
    assert "nobody" in told.err.splitlines()[0]


def test_an_incompatible_model_is_not_loaded_without_force(serve: Serve, starter_file: Path) -> None:
    assert serve.add("bad", starter_file).status_code == 201
    serve.patch("bad", compatibility_status="incompatible", compatibility_notes="It froze the screen.")
    answer = serve.load("bad")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "incompatible")
    assert "It froze the screen." in body["detail"]
    assert "force_load" in body["hint"]
    told = command(serve.data_dir, "load", "bad")
    assert (told.code, told.out) == (1, "")
    assert "It froze the screen." in told.err
    assert serve.attempts("bad") == []
