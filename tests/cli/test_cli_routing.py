"""`quarterdeck route`: which model answers to a name, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from command import Run
from scripted_core import ScriptedCore, scripted_core


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core")) as core:
        core.add("Writer")
        core.add("Spare")
        rules = {
            "patterns": [{"pattern": "gpt-.*", "model": "Writer"}],
            "fallbacks": [{"model": "*", "error": ["Spare"], "context_window": ["Spare"]}],
        }
        core.http.put("/api/routing", json=rules).raise_for_status()
        yield core


@pytest.fixture
def core(shared_core: ScriptedCore, monkeypatch: pytest.MonkeyPatch) -> ScriptedCore:
    monkeypatch.setenv("QUARTERDECK_DATA_DIR", str(shared_core.folder / "data"))
    return shared_core


@pytest.mark.usefixtures("core")
def test_the_rule_and_the_order_are_told(run: Run) -> None:
    ended = run("route", "gpt-4o")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "gpt-4o → Writer (embedded), by pattern."
    assert lines[-3:] == [
        "Order of trial: Writer, Spare",
        "After an error: Spare",
        "After a prompt that is too long: Spare",
    ]
    assert any(line.startswith("  ✓ pattern") for line in lines)


@pytest.mark.usefixtures("core")
def test_as_json_with_something_down(run: Run) -> None:
    ended = run("route", "gpt-4o", "--down", "Writer", "--need", "chat", "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["rule"], report["model"], report["tried"]) == (0, "fallback", "Spare", ["Spare"])


@pytest.mark.usefixtures("core")
def test_a_name_that_leads_nowhere_is_a_failure(run: Run) -> None:
    ended = run("route", "Writr")
    assert ended.code == 1
    assert "Writr → no answer." in ended.out
    assert "“Writer”" in ended.out
    assert run("route", "Writer", "--down", "embedded").code == 1
    assert run("route").code == 2
