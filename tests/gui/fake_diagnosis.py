"""What a fake core knows of diagnosis: problems and fixes, known issues, the doctor, drift and the report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
from pydantic import BaseModel

from quarterdeck.schemas.diagnosis import Diagnosis, Evidence, Remedy, RemedyKind
from quarterdeck.schemas.doctor import DoctorReport, DoctorStep, StepState
from quarterdeck.schemas.known_issues import Combination, ImportedIssues, KnownIssue
from quarterdeck.schemas.problems import (
    AppliedFix,
    Change,
    Fix,
    FixKind,
    FixPreview,
    FixResult,
    ProblemView,
    Severity,
)
from quarterdeck.schemas.report import CheckItem, ConfigFileView, Difference, DriftReport, FileState, StatusReport

Answer = tuple[int, Any]
MARKDOWN = "# Status\n\n| Service | State |\n|---|---|\n| gateway | down |\n\n<b>not markup</b>\n"


def make_problem(id: str, **fields: Any) -> ProblemView:
    from fake_core import NOW

    base: dict[str, Any] = {
        "id": id, "severity": Severity.HIGH, "source": "attempt", "subject": "model:qwen3-8b",
        "title": "The context does not fit", "why": "The KV cache of 32768 tokens needs 4.5 GiB; 2.1 GiB were free.",
        "hint": "A shorter context needs less.", "since": NOW,
        "evidence": [Evidence(line=41, text="cudaMalloc failed: out of memory")],
        "advice": ["Close other programs that use the card."], "commands": ["nvidia-smi"],
        "fixes": [Fix(id="shorter", kind=FixKind.LOAD_CONFIG, title="Use 8192 tokens of context", target="qwen3-8b",
                      patch={"n_ctx": 8192}, retries=True)],
    }  # fmt: skip
    return ProblemView(**(base | fields))


def make_issue(id: str, **fields: Any) -> KnownIssue:
    base: dict[str, Any] = {
        "id": id, "title": f"Title of {id}", "subject": "Gemma 2", "cause": "It takes no system role.",
        "affected": [Combination(services=["vllm", "webui"], effect="Chats end with status 400.")],
        "workarounds": ["Use another model."], "still_applies": True,
    }  # fmt: skip
    return KnownIssue(**(base | fields))


def make_steps(*, failed: bool = False) -> list[DoctorStep]:
    state = StepState.FAILED if failed else StepState.OK
    finding = "The certificate expired on 1 May 2026." if failed else "The certificate holds until 2027."
    return [
        DoctorStep(name="dns", title="Name", state=StepState.OK, finding="It is 127.0.0.1.", milliseconds=1.4),
        DoctorStep(name="tls", title="Certificate", state=state, code="tls_expired" if failed else "", finding=finding,
                   fix="Renew it." if failed else "", milliseconds=12_400),
        DoctorStep(name="http", title="HTTP", state=StepState.SKIPPED if failed else StepState.OK, finding="Answers."),
    ]  # fmt: skip


def make_doctor_report(target: str, **fields: Any) -> DoctorReport:
    from fake_core import NOW

    base: dict[str, Any] = {
        "target": target, "url": "https://gateway.test/v1", "started_at": NOW, "state": StepState.OK,
        "sentence": f"{target} is in order.", "steps": make_steps(), "text": f"Report on {target}",
    }  # fmt: skip
    return DoctorReport(**(base | fields))


def make_drift() -> DriftReport:
    from fake_core import NOW

    return DriftReport(
        checked_at=NOW,
        files=[
            ConfigFileView(path="/etc/litellm/config.yaml", kind="LiteLLM configuration", size_bytes=2048, lines=61,
                           models=["gpt-4o", "qwen3"], states=[FileState.DEPLOYED, FileState.UNCOMMITTED],
                           users=["litellm"], modified_at=NOW, git="main, 1 change",
                           faults=["line 12: “gpt-4o” falls back to itself"]),
            ConfigFileView(path="/etc/litellm/old.yaml", kind="LiteLLM configuration", states=[FileState.STALE]),
        ],
        differences=[Difference(subject="server:embedded", what="tool calls", declared="yes", running="no",
                                severity="high")],
    )  # fmt: skip


class FakeDiagnosis:
    """Answers from plain attributes that a test sets. `gate` holds fixes, the doctor and the checklist back."""

    def __init__(self) -> None:
        self.problems: list[ProblemView] = []
        self.preview = FixPreview(title="Use 8192 tokens of context",
                                  changes=[Change(what="n_ctx", before="32768", after="8192")],
                                  consequence="The model is loaded again.")  # fmt: skip
        self.result = FixResult(sentence="It loads with 8192 tokens.", worked=True, undo_id="u1")
        self.applied: list[AppliedFix] = []
        self.issues = [make_issue("gemma-system"), make_issue("slow-start", title="Slow start", subject="LiteLLM",
                                                              affected=[], still_applies=None)]  # fmt: skip
        self.imported = ImportedIssues(added=["mine"])
        self.told: list[DoctorStep | DoctorReport] = [*make_steps(), make_doctor_report("gateway")]
        self.drift = make_drift()
        self.checks = [CheckItem(name="gateway", title="The gateway answers"), CheckItem(name="chat", title="A chat")]
        self.checked = [CheckItem(name="gateway", title="The gateway answers", passed=True),
                        CheckItem(name="chat", title="A chat", passed=False, detail="503 after 2 s")]  # fmt: skip
        self.found = Diagnosis.model_validate({
            "kind": "failure", "class": "cuda_oom", "confidence": 0.9, "title": "The GPU ran out of memory",
            "why": "The buffer did not fit.", "evidence": [Evidence(line=2, text="line 2")],
            "remedies": [Remedy(title="Use a shorter context", kind=RemedyKind.LOAD_CONFIG, patch={"n_ctx": 4096}),
                         Remedy(title="See who holds memory", kind=RemedyKind.COMMAND, command="nvidia-smi")],
            "known_issue": "gemma-system",
        })  # fmt: skip
        self.bundle = b"PK\x05\x06" + bytes(18)
        self.gate: asyncio.Event | None = None
        self.cancelled = False

    def report(self) -> StatusReport:
        from fake_core import NOW

        return StatusReport(written_at=NOW, assessment="Needs attention", drift=self.drift, checklist=self.checks,
                            problems=self.problems, markdown=MARKDOWN)  # fmt: skip

    async def respond(self, request: httpx.Request) -> httpx.Response | None:
        """The answers that are not JSON objects; None where `answer` has it."""
        where = request.method, request.url.path
        if where == ("POST", "/api/doctor"):
            return httpx.Response(200, stream=_Steps(self), request=request)
        if where == ("GET", "/api/known-issues/export"):
            return httpx.Response(200, text="# Mine\n", request=request)
        if where == ("GET", "/api/diagnostics"):
            if self.gate is not None:
                await self.gate.wait()
            return httpx.Response(200, content=self.bundle, request=request)
        if where in (("POST", "/api/fixes/apply"), ("POST", "/api/report/checklist")) and self.gate is not None:
            await self.gate.wait()
        return None

    def answer(self, method: str, parts: list[str], body: Any) -> Answer:
        match (method, *parts):
            case ("GET", "problems"):
                return 200, _dump(self.problems)
            case (_, "fixes", *rest):
                return self._fixes(method, rest, body)
            case ("GET", "known-issues"):
                return 200, _dump(self.issues)
            case ("POST", "known-issues", "import"):
                self.issues.append(make_issue("mine", own=True))
                return 200, self.imported.model_dump(mode="json")
            case ("DELETE", "known-issues", id):
                self.issues = [issue for issue in self.issues if issue.id != id]
                return 200, {}
            case ("GET", "drift"):
                return 200, self.drift.model_dump(mode="json")
            case ("GET", "report"):
                return 200, self.report().model_dump(mode="json")
            case ("POST", "report", "checklist"):
                self.checks = self.checked
                return 200, _dump(self.checks)
            case ("POST", "diagnose"):
                return 200, self.found.model_dump(mode="json")
        return 404, {"detail": f"There is nothing at /api/{'/'.join(parts)}.", "code": "not_found", "hint": ""}

    def _fixes(self, method: str, rest: list[str], body: Any) -> Answer:
        from fake_core import NOW

        match method, rest:
            case "GET", []:
                return 200, _dump(self.applied)
            case "POST", ["preview"]:
                return 200, self.preview.model_dump(mode="json")
            case "POST", ["apply"]:
                self.problems = [problem for problem in self.problems if problem.id != body["problem_id"]]
                self.applied.insert(
                    0,
                    AppliedFix(
                        undo_id="u1",
                        title=self.preview.title,
                        subject="model:qwen3-8b",
                        changes=self.preview.changes,
                        applied_at=NOW,
                        worked=True,
                    ),
                )
                return 200, self.result.model_dump(mode="json")
            case "POST", [undo_id, "undo"]:
                self.applied = [fix.model_copy(update={"undone_at": NOW}) if fix.undo_id == undo_id else fix
                                for fix in self.applied]  # fmt: skip
                return 200, {"sentence": "It is as it was before."}
        return 404, {"detail": "There is no such change.", "code": "unknown_fix", "hint": ""}


def _dump(items: Iterable[BaseModel]) -> list[Any]:
    return [item.model_dump(mode="json") for item in items]


class _Steps(httpx.AsyncByteStream):
    """The lines of the doctor; with a gate, all but the first wait for it."""

    def __init__(self, core: FakeDiagnosis) -> None:
        self._core = core
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for place, told in enumerate(self._core.told):
            if place and self._core.gate is not None:
                await self._core.gate.wait()
            yield told.model_dump_json().encode() + b"\n"
        self._ended = True

    async def aclose(self) -> None:
        self._core.cancelled = not self._ended
