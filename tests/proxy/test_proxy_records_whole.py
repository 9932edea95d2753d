"""All that is kept of requests, as the core has it: by the settings, and with problems told as issues."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from request_records import answered, begin
from starlette.applications import Starlette

from quarterdeck.hardware.sampler import Sampler
from quarterdeck.proxy.records.records import Records
from quarterdeck.scheduling.issues import Issues
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.hardware import GpuSample
from quarterdeck.schemas.requests import RequestView
from quarterdeck.settings import Settings
from quarterdeck.storage.events import EventLog


class Bench:
    def __init__(self, folder: Path) -> None:
        self.settings = Settings()
        self.told: list[tuple[str, str]] = []
        self.views: list[RequestView] = []
        self.folder = folder
        events = SimpleNamespace(publish=lambda topic, type, _data: self.told.append((topic, type)))
        self.issues = Issues(cast(EventLog, events))
        self.records = Records(
            folder,
            settings=lambda: self.settings,
            issues=self.issues,
            on_request=self.views.append,
            on_passed_over=lambda _count: None,
        )

    def change(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "logs")


async def test_closing_leaves_nothing_unwritten_or_untold(bench: Bench) -> None:
    for _ in range(5):
        answered(bench.records.log)
    await bench.records.close()
    assert len((bench.folder / "requests.jsonl").read_text().splitlines()) == 5
    assert len(bench.views) == 5
    assert bench.told == []


@pytest.mark.parametrize("setting", ["capture_requests", "log_prompts"])
async def test_texts_are_kept_as_the_settings_say(bench: Bench, setting: str) -> None:
    record = begin(bench.records.log)
    assert record.texts is None
    record.finish(client_left=False)
    bench.change(**{setting: True})
    record = begin(bench.records.log)
    record.original(b"hello there")
    record.finish(client_left=False)
    detail = bench.records.log.detail(record.id)
    assert detail is not None
    assert detail.request.captured is (setting == "capture_requests")
    await bench.records.close()
    written = (bench.folder / "requests.jsonl").read_text()
    assert ("hello there" in written) is (setting == "log_prompts")


async def test_a_log_that_cannot_be_written_is_one_issue(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    for _ in range(3):
        answered(bench.records.log)
        await bench.records.close()
    [issue] = bench.issues.all()
    assert (issue.code, issue.severity) == ("access_log_failed", "warning")
    assert bench.told == [("issue", "raised")]
    (tmp_path / "logs").unlink()
    answered(bench.records.log)
    await bench.records.close()
    assert bench.issues.all() == []


async def test_the_state_of_the_core_is_in_the_metrics(bench: Bench) -> None:
    view = SimpleNamespace(name="small", backend="embedded")
    asleep = SimpleNamespace(name="big", backend="vllm")
    loaded = {"small": SimpleNamespace(view=view, awake=True), "big": SimpleNamespace(view=asleep, awake=False)}
    scheduler = SimpleNamespace(loaded=loaded, queue=[1, 2])
    gpu = GpuSample(index=0, uuid="GPU-1", name="Test", memory_used=5, memory_total=9)
    sampler = SimpleNamespace(sample_now=lambda _timeout: SimpleNamespace(gpus=[gpu]))
    found = bench.records.routes(cast(Scheduler, scheduler), cast(Sampler, sampler))
    transport = httpx.ASGITransport(Starlette(routes=found))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        text = (await http.get("/metrics")).text
    assert 'quarterdeck_model_loaded{backend="embedded",model="small"} 1.0' in text
    assert "big" not in text
    assert "quarterdeck_load_queue_length 2.0" in text
    assert 'quarterdeck_gpu_memory_used_bytes{gpu="0",name="Test",uuid="GPU-1"} 5.0' in text
