"""`quarterdeck diagnose` and `POST /api/diagnose`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from quarterdeck.cli import main
from quarterdeck.client import diagnosing
from quarterdeck.client.diagnosing import page
from quarterdeck.control.diagnosis import router
from quarterdeck.schemas.diagnosis import Diagnosis, Evidence, Remedy, RemedyKind

LOG = "starting\nwrite: No space left on device\nbye\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "engine.log"
    path.write_text(LOG, encoding="utf-8")
    return path


def test_a_file_for_people(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(log)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The disk is full\n")
    assert "2 │ write: No space left on device" in out
    assert "What helps:\n  • " in out


def test_a_file_for_programs(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(log), "--service", "vllm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "kind",
        "class",
        "confidence",
        "service",
        "title",
        "why",
        "evidence",
        "remedies",
        "known_issue",
        "others",
    } == {*found}
    assert (found["kind"], found["class"], found["service"]) == ("failure", "disk_full", "vllm")
    assert found["evidence"][0] == {"line": 2, "text": "write: No space left on device"}
    assert found["remedies"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode())))
    assert main(["diagnose", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class"] == "disk_full"


def test_an_empty_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    assert main(["diagnose", str(tmp_path / "empty")]) == 0
    assert capsys.readouterr().out == "The log is empty\nThere is nothing in it to read.\n"


@pytest.mark.parametrize(("name", "why"), [("nothing", "No such file"), (".", "folder")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    sentence, hint = captured.err.splitlines()
    assert why in sentence
    assert "log file" in hint


def test_the_page_of_a_diagnosis() -> None:
    found = Diagnosis(
        kind="failure",
        failure_class="cuda_oom",
        confidence=0.7,
        title="Too big",
        why="It is too big.",
        evidence=[Evidence(line=120, text="no memory"), Evidence(line=7, text="big")],
        remedies=[
            Remedy(title="Take less", kind=RemedyKind.LOAD_CONFIG, patch={"n_ctx": 2048, "mmproj": None}),
            Remedy(title="Stop the other", kind=RemedyKind.COMMAND, command="ollama stop a"),
            Remedy(title="Buy more"),
        ],
        known_issue="big-models",
    )
    assert page(found).splitlines() == [
        "Too big",
        "It is too big.",
        "",
        "In the log:",
        "  120 │ no memory",
        "    7 │ big",
        "",
        "What helps:",
        "  • Take less",
        "      load_config: n_ctx = 2048, mmproj = (removed)",
        "  • Stop the other:",
        "      ollama stop a",
        "  • Buy more",
        "",
        "This is a known issue: quarterdeck known-issues show big-models",
        "",
        "How sure: fairly.",
    ]


def test_a_long_log_says_on_a_terminal_how_far_it_is_read(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diagnosing, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    main(["diagnose", str(log)])
    assert "Read 0 MB …" in capsys.readouterr().err


@pytest.fixture
def api() -> TestClient:
    app = FastAPI()
    app.include_router(router())
    return TestClient(app)


def test_over_http(api: TestClient) -> None:
    found = api.post("/api/diagnose", json={"text": LOG, "service": "vllm"}).json()
    assert (found["class"], found["service"], found["evidence"][0]["line"]) == ("disk_full", "vllm", 2)


def test_the_end_of_the_process_is_taken_into_account(api: TestClient) -> None:
    assert api.post("/api/diagnose", json={"text": "starting"}).json()["kind"] == "healthy"
    died = api.post("/api/diagnose", json={"text": "starting", "signal": "SIGSEGV"}).json()
    assert (died["kind"], died["class"]) == ("failure", "other")
    ended = api.post("/api/diagnose", json={"text": "starting", "exit_code": 42}).json()
    assert "42" in ended["why"]


def test_a_request_without_a_log(api: TestClient) -> None:
    assert api.post("/api/diagnose", json={}).status_code == 422
