"""The access log: a line for each request, nothing secret in it, and a disk that refuses is told once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from request_records import answered, begin

from quarterdeck.errors import AppError
from quarterdeck.proxy.records import access_log as module
from quarterdeck.proxy.records.access_log import AccessLog
from quarterdeck.proxy.records.log import Keeping, RequestLog
from quarterdeck.settings import Settings


class Bench:
    """An access log of its own, with settings that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings()
        self.problems: list[AppError | None] = []
        self.access_log = AccessLog(folder, settings=lambda: self.settings, problem=self.problems.append)
        self.log = RequestLog(
            lambda _view: None,
            sinks=[self.access_log.add],
            keeping=lambda: Keeping(prompts=self.settings.log_prompts),
        )

    def change(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)

    async def lines(self) -> list[dict[str, Any]]:
        await self.access_log.close()
        path = self.access_log.path
        if not await asyncio.to_thread(path.exists):
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "logs")


async def test_a_line_for_each_request(bench: Bench) -> None:
    records = [
        answered(bench.log),
        answered(bench.log, status=404),
        answered(bench.log, model="ü\n\ud800", key="laptop"),
    ]
    lines = await bench.lines()
    assert [line["id"] for line in lines] == [record.id for record in records]
    first, second, third = lines
    assert (first["model"], first["backend"], first["route"], first["status"]) == ("small", "embedded", "exact", 200)
    assert (first["prompt_tokens"], first["completion_tokens"], first["tokens_per_second"]) == (37, 24, 1.5)
    assert first["total_ms"] >= first["first_token_ms"] >= first["waited_ms"] >= 0
    assert first["at"].endswith("Z")
    assert (second["status"], second["code"]) == (404, "upstream_error")
    assert (third["model"], third["key"]) == ("ü\n?", "laptop")
    assert bench.problems == [None]


async def test_nothing_is_written_when_it_is_off(bench: Bench) -> None:
    bench.change(access_log=False)
    answered(bench.log)
    assert await bench.lines() == []


async def test_no_prompt_by_default(bench: Bench) -> None:
    record = begin(bench.log)
    record.original(b'{"messages":[{"content":"my secret"}]}')
    record.answer(b"my answer")
    record.failed(400, "The engine answered 400: bad input “my secret”.")
    record.finish(client_left=False)
    await bench.lines()
    text = bench.access_log.path.read_text()
    assert "my secret" not in text
    assert "my answer" not in text


async def test_our_own_words_are_written(bench: Bench) -> None:
    record = begin(bench.log)
    record.failed(404, "There is no model “big”.", "unknown_model")
    record.finish(client_left=False)
    [line] = await bench.lines()
    assert (line["code"], line["error"]) == ("unknown_model", "There is no model “big”.")


async def test_texts_when_somebody_wants_them(bench: Bench) -> None:
    bench.change(log_prompts=True)
    record = begin(bench.log)
    record.original(b'{"prompt":"hello","api_key":"abc"}')
    record.answer(b"hi")
    record.failed(400, "The engine answered 400: bad input.")
    record.finish(client_left=False)
    [line] = await bench.lines()
    assert json.loads(line["original"])["prompt"] == "hello"
    assert "abc" not in line["original"]
    assert (line["answer"], line["error"]) == ("hi", "The engine answered 400: bad input.")
    assert record.texts is None


async def test_the_file_of_the_settings_is_used_from_the_next_line_on(bench: Bench, tmp_path: Path) -> None:
    answered(bench.log)
    assert len(await bench.lines()) == 1
    bench.change(access_log_path=str(tmp_path / "elsewhere" / "chat.jsonl"))
    answered(bench.log)
    answered(bench.log)
    assert len(await bench.lines()) == 2
    bench.change(access_log_path="named.jsonl")
    answered(bench.log)
    assert len(await bench.lines()) == 1
    assert (tmp_path / "logs" / "named.jsonl").exists()


async def test_full_files_are_followed_by_new_ones(bench: Bench) -> None:
    bench.change(access_log_max_bytes=1000, access_log_files=2)
    for _ in range(20):
        answered(bench.log)
    await bench.lines()
    folder = bench.access_log.path.parent
    assert sorted(file.name for file in folder.iterdir()) == [
        "requests.jsonl", "requests.jsonl.1", "requests.jsonl.2",
    ]  # fmt: skip


async def test_a_file_that_cannot_be_written_is_a_problem_until_it_can(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    answered(bench.log)
    assert await bench.access_log.close() is None
    [problem] = bench.problems
    assert problem is not None
    assert problem.code == "access_log_failed"
    assert "requests.jsonl" in problem.sentence
    (tmp_path / "logs").unlink()
    answered(bench.log)
    assert len(await bench.lines()) == 1
    assert bench.problems[1:] == [None]


async def test_a_disk_that_stalls_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 50)
    bench = Bench(tmp_path)
    for _ in range(100):
        answered(bench.log)
    lines = await bench.lines()
    lost = sum(line.get("lost", 0) for line in lines)
    assert 40 <= len(lines) <= 52
    assert 40 <= lost <= 60
    assert lines[-1]["id"] == bench.log.recent()[0].id
