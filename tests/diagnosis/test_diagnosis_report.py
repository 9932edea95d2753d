"""The status report, its page, and the checklist."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from drift_room import CODER, NOW, REFUSED, UNIFIED, Room
from fastapi import FastAPI

from quarterdeck.client.report import drift_page
from quarterdeck.control import errors, report
from quarterdeck.diagnosis.drift.facts import Facts, ModelFact, Running, ServedModel
from quarterdeck.diagnosis.report import checklist
from quarterdeck.diagnosis.report.reporter import Reporter
from quarterdeck.schemas.problems import ProblemView, Severity
from quarterdeck.schemas.report import CheckItem, DriftReport, StatusReport


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """One gateway that is down, a server that refuses tools, and a change that nobody committed."""
    room = Room(tmp_path)
    room.change("litellm", state=Running.DOWN, startable=True, detail="The unit litellm.service ended 2 h 49 min ago.")
    room.unified.write_text(UNIFIED + "# tried\n", encoding="utf-8")
    room.models = (
        ModelFact("good", "vllm", status="compatible", last_loaded=NOW - timedelta(days=1)),
        ModelFact("bad", "vllm", status="incompatible", failures=("The engine did not start.",) * 2),
    )
    (tmp_path / "STATUS.md").write_text("old", encoding="utf-8")
    return room


async def test_the_report_has_every_part(room: Room) -> None:
    page = (await Reporter(room).report()).markdown
    for title in ("Summary", "Services", "Configuration landscape", "Declared and running", "Expected and actual",
                  "Problems", "Immediate actions", "Options", "Checklist", "Last good state", "Changed files",
                  "Documents", "Next update"):  # fmt: skip
        assert f"\n## {title}\n" in page, title
    assert "ended 2 h 49 min ago" in page
    assert str(room.unified) in page
    assert "a base with an overlay" in page.lower()
    assert "“bad” did not load (2×)." in page


async def test_the_assessment_names_what_is_down(room: Room) -> None:
    assert (await Reporter(room).report()).assessment.startswith("LiteLLM is down; configurations do not agree")


async def test_problems_of_others_are_in_it_once_and_the_worst_comes_first(room: Room) -> None:
    async def others() -> list[ProblemView]:
        own = await reporter.problems()
        worse = ProblemView(id="x", severity=Severity.CRITICAL, source="attempt", subject="model:m", title="T", why="W")
        return [*own, worse]

    reporter = Reporter(room, problems=others)
    listed = (await reporter.report()).problems
    assert listed[0].id == "x"
    assert len({each.id for each in listed}) == len(listed)


async def test_signs_of_a_page_in_foreign_text_stay_text(room: Room) -> None:
    room.change("litellm", last_error="a | b <b>*c*</b>\nd")
    page = (await Reporter(room).report()).markdown
    assert "a \\| b \\<b\\>\\*c\\*\\</b\\> d" in page


async def test_an_empty_machine_has_a_report_too() -> None:
    class Nothing:
        async def collect(self, *, thorough: bool = False) -> Facts:
            return Facts(at=NOW)

    written = await Reporter(Nothing()).report()
    assert written.assessment == "No server is known yet."
    assert "## Problems" not in written.markdown


def items(room: Room, **changes: object) -> dict[str, CheckItem]:
    facts = replace(room.facts, **changes)  # type: ignore[arg-type]
    return {item.name: item for item in checklist.run(facts, [])}


def test_the_checklist_before_it_was_run_is_open() -> None:
    assert {item.passed for item in checklist.unchecked()} == {None}


async def test_all_green(tmp_path: Path) -> None:
    room = Room(tmp_path)
    found = items(room, log_errors={"litellm": "", "vllm": ""})
    assert {name: item.passed for name, item in found.items()} == dict.fromkeys(found, True)


async def test_each_item_fails_for_its_own_reason(room: Room) -> None:
    room.change("vllm", models=(ServedModel(CODER, tools=False, tools_error=REFUSED),))
    found = items(room, log_errors={"vllm": "it broke"})
    assert {name for name, item in found.items() if item.passed is False} == {"gateway", "tools", "logs", "uptime"}
    assert REFUSED in found["tools"].detail


async def test_the_hour_counts_and_says_when_it_is_full(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.change("vllm", uptime_s=48 * 60)
    item = items(room)["uptime"]
    assert item.passed is None
    assert (
        item.detail == f"vllm runs for 48 min; an hour is full at {(NOW + timedelta(minutes=12)).astimezone():%H:%M}."
    )


async def test_the_control_api_answers_all_forms(room: Room) -> None:
    app = FastAPI()
    errors.install(app)
    app.include_router(report.router(Reporter(room)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        drift = DriftReport.model_validate_json((await http.get("/api/drift")).content)
        assert len(drift.files) == 2
        page = await http.get("/api/report", params={"format": "markdown"})
        assert page.headers["content-type"].startswith("text/markdown")
        assert page.text.startswith("# Status report\n")
        assert (await http.get("/api/report", params={"format": "pdf"})).status_code >= 400
        ran = (await http.post("/api/report/checklist")).json()
        assert next(each for each in ran if each["name"] == "gateway")["passed"] is False
        written = StatusReport.model_validate_json((await http.get("/api/report")).content)
        assert [item.model_dump(mode="json") for item in written.checklist] == ran


async def test_the_command_shows_files_and_differences(room: Room) -> None:
    shown = drift_page(await Reporter(room).drift())
    assert f"{room.unified}  not deployed, modified, uncommitted" in shown
    assert "high: deployed models of" in shown
    assert "Follow one" in drift_page(DriftReport(checked_at=NOW))
