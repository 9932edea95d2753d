"""Real failures of the real llama.cpp: each is named and has a remedy, and the fixes on offer make the model work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from serve_process import Serve, serving, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(120)]

Break = Callable[[Path], None]


class Case(NamedTuple):
    """A model that does not load: what its load_config says, what was done to its file, and what is found.

    `mends` is an entry of the patch of the fix that helps.
    """

    config: dict[str, Any]
    damage: Break | None
    failure_class: str
    mends: str | None = None


def truncate(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(60_000_000)


def replace(old: bytes, new: bytes) -> Break:
    def change(file: Path) -> None:
        content = file.read_bytes()
        assert old in content
        file.write_bytes(content.replace(old, new, 1))

    return change


def write(content: bytes) -> Break:
    return lambda file: file.write_bytes(content) and None


CASES = {
    "bad template": Case({"chat_template": "{% if %}"}, None, "chat_template_missing", "chat_template"),
    "compressed values": Case(
        {"cache_type_v": "q8_0", "flash_attention": "off"}, None, "bad_load_config", "flash_attention"
    ),
    "no projector": Case({"mmproj": "/nowhere/projector.gguf"}, None, "model_not_found", "mmproj"),
    "cut off": Case({}, truncate, "corrupt_model_file"),
    "gone": Case({}, Path.unlink, "model_not_found"),
    "unheard-of architecture": Case({}, replace(b"llama", b"lhama"), "unsupported_architecture"),
    "a web page": Case({}, write(b"<!DOCTYPE html><html><body>Sign in</body></html>"), "corrupt_model_file"),
    "empty": Case({}, write(b""), "corrupt_model_file"),
    "a part is missing": Case({}, replace(b"blk.0.attn_q.weight", b"blk.0.attn_Q.weight"), "corrupt_model_file"),
    "a fact is missing": Case({}, replace(b"llama.block_count", b"llama.blocks_many"), "corrupt_model_file"),
    "an old file": Case({}, write(b"tjgg" + b"\x01\x00\x00\x00" * 500), "old_gguf_format"),
}


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("diagnosis") / "data", QUARTERDECK_COOLDOWN="0") as running:
        yield running


def problem(serve: Serve, subject: str) -> dict[str, Any]:
    """The only problem with `subject`."""
    (found,) = (each for each in serve.http.get("/api/problems").json() if each["subject"] == subject)
    return dict(found)


def fixed(serve: Serve, found: dict[str, Any], entry: str) -> dict[str, Any]:
    """What came of the fix whose patch has that entry, which is shown first and then made."""
    fix = next(each for each in found["fixes"] if entry in each["patch"])
    wanted = {"problem_id": found["id"], "fix_id": fix["id"]}
    preview = serve.http.post("/api/fixes/preview", json=wanted).raise_for_status().json()
    assert preview["changes"]
    return dict(serve.http.post("/api/fixes/apply", json=wanted, timeout=100).raise_for_status().json())


@pytest.mark.parametrize("name", CASES)
def test_a_model_that_does_not_load(serve: Serve, starter_file: Path, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    file = tmp_path / "model.gguf"
    file.write_bytes(starter_file.read_bytes())
    serve.add(name, file, load_config=case.config).raise_for_status()
    if case.damage is not None:
        case.damage(file)
    answer = serve.load(name, force_load=True)
    assert answer.status_code == 424, answer.text
    found = problem(serve, f"model:{name}")
    assert found["failure_class"] == case.failure_class, found
    assert found["why"]
    assert found["hint"] or found["advice"] or found["fixes"]
    if case.mends is not None:
        result = fixed(serve, found, case.mends)
        assert result["worked"] is True, result
        serve.unload()
    serve.http.delete(f"/api/models/{name}").raise_for_status()


def test_a_prompt_that_is_too_long(serve: Serve, starter_file: Path) -> None:
    name = "short context"
    serve.add(name, starter_file, load_config={"n_ctx": 256}).raise_for_status()
    body = {"model": name, "messages": [{"role": "user", "content": "word " * 400}], "max_tokens": 4}
    assert serve.http.post("/v1/chat/completions", json=body).status_code == 400
    found = wait_for(lambda: problem(serve, f"model:{name}"), "the refusal is told")
    assert found["failure_class"] == "context_overflow"
    assert fixed(serve, found, "n_ctx")["worked"] is True
    assert serve.http.post("/v1/chat/completions", json=body, timeout=100).status_code == 200
    serve.unload()
    serve.http.delete(f"/api/models/{name}").raise_for_status()


def test_a_load_that_takes_too_long(serve: Serve, starter_file: Path) -> None:
    name = "stands still"
    serve.add(name, starter_file).raise_for_status()
    serve.http.patch("/api/settings", json={"load_timeout": 6}).raise_for_status()
    body = {"model_name": name, "force_load": True}
    done: list[int] = []
    loading = threading.Thread(
        target=lambda: done.append(serve.http.post("/api/orchestrate/load", json=body).status_code)
    )
    loading.start()
    engine = wait_for(serve.engines, "the engine starts")[0]
    os.kill(engine, signal.SIGSTOP)
    loading.join()
    assert done == [424]
    found = problem(serve, f"model:{name}")
    assert found["failure_class"] == "timeout_loading"
    assert fixed(serve, found, "load_timeout")["worked"] is True
    serve.unload()
    serve.http.patch("/api/settings", json={"load_timeout": 600}).raise_for_status()
    serve.http.delete(f"/api/models/{name}").raise_for_status()


def test_an_engine_that_dies_while_it_serves(serve: Serve, starter_file: Path) -> None:
    name = "dies"
    serve.add(name, starter_file).raise_for_status()
    serve.load(name).raise_for_status()
    os.kill(serve.engines()[0], signal.SIGSEGV)
    wait_for(lambda: serve.model(name)["last_error"], "the death is noticed")
    found = wait_for(
        lambda: next((p for p in serve.http.get("/api/problems").json() if p["subject"] == f"model:{name}"), None),
        "the death is a problem",
    )
    assert found["title"] == "“dies” stopped while it ran: the engine crashed"
    assert serve.attempts(name)[0]["circumstances"]["host_total_bytes"]
    assert [each["subject"] for each in serve.http.get("/api/problems").json() if "server" in each["subject"]] == []
    again = {"problem_id": found["id"], "fix_id": "again"}
    assert serve.http.post("/api/fixes/apply", json=again, timeout=100).raise_for_status().json()["worked"] is True
    serve.unload()
    serve.http.delete(f"/api/models/{name}").raise_for_status()
