"""Following imported files: what changes is taken, what is wrong is told, and what is loaded goes on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from import_reading import ENGINES
from scheduler_bench import Bench

from quarterdeck.errors import AppError
from quarterdeck.scheduling import follower
from quarterdeck.scheduling.follower import Follower


class Followed:
    """A followed LiteLLM configuration, and the follower under test."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.bench = bench
        self.path = path
        self.changes = 0
        self.follower = Follower(bench.catalog, bench.issues, on_change=self._changed)

    def write(self, **models: str) -> None:
        listed = [
            {"model_name": name, "litellm_params": {"model": f"openai/{target}", "api_base": "http://127.0.0.1:9/v1"}}
            for name, target in models.items()
        ]
        self.write_text(json.dumps({"model_list": listed}))

    def write_text(self, text: str) -> None:
        before = self.path.stat().st_mtime_ns if self.path.exists() else 0
        self.path.write_text(text, encoding="utf-8")
        # Two writes may fall into one tick of the file system's clock.
        os.utime(self.path, ns=(before + 10**9, before + 10**9))

    async def take(self) -> None:
        """Import the file and follow it."""
        registry = self.bench.catalog.registry
        plan = registry.read_import(self.path.read_text(encoding="utf-8"), name=str(self.path))
        await registry.import_plan(plan, None, True)
        await self.bench.catalog.reload()
        await self.follower.follow(self.path, None)

    def served(self) -> Mapping[str, str]:
        return {view.name: view.served_name for view in self.bench.catalog.all() if view.path is None}

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
async def followed(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    monkeypatch.setattr(follower, "LOOK_SECONDS", 0.01)
    made = Followed(bench, tmp_path / "litellm.yaml")
    made.write(one="first")
    yield made
    await made.follower.close()


async def test_a_file_that_changed_is_read_again(followed: Followed) -> None:
    await followed.take()
    assert followed.served() == {"one": "first"}
    followed.write(one="first", two="second")
    await followed.bench.until(lambda: "two" in followed.served())
    assert followed.changes == 1
    assert any(event.data.get("name") == "two" for event in followed.bench.heard)


async def test_a_mistake_is_an_issue_until_the_file_is_fine(followed: Followed) -> None:
    await followed.take()
    followed.write_text("model_list:\n  - model_name: one\n   broken: [")
    await followed.bench.until(lambda: followed.bench.issues.all())
    [issue] = followed.bench.issues.all()
    assert str(followed.path) in issue.sentence
    assert "Line 3" in issue.sentence
    assert issue.hint
    assert followed.served() == {"one": "first"}
    [file] = await followed.follower.files()
    assert file.error
    followed.write(one="first", two="second")
    await followed.bench.until(lambda: "two" in followed.served())
    assert followed.bench.issues.all() == []


async def test_a_mistake_is_told_again_after_a_restart(followed: Followed) -> None:
    await followed.take()
    followed.write_text("model_list: [")
    await followed.bench.until(lambda: followed.bench.issues.all())
    await followed.follower.close()
    [issue] = followed.bench.issues.all()
    followed.bench.issues.clear(issue.code)
    another = Follower(followed.bench.catalog, followed.bench.issues)
    await another.open()
    assert [each.code for each in followed.bench.issues.all()] == [issue.code]
    await another.close()


async def test_what_changed_while_nobody_looked_is_taken_at_the_start(followed: Followed) -> None:
    await followed.take()
    await followed.follower.close()
    followed.write(one="first", later="third")
    another = Follower(followed.bench.catalog, followed.bench.issues)
    await another.open()
    await followed.bench.until(lambda: "later" in followed.served())
    await another.close()


async def test_a_loaded_model_goes_on(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = followed.bench
    monkeypatch.setattr(bench.catalog.registry._imports, "_engines", lambda: ENGINES)
    await bench.scheduler.load("alpha")
    command = f"llama-server -m {bench.get('alpha').path}"
    followed.write_text(json.dumps({"models": {"alpha": {"cmd": f"{command} -c 512"}}}))
    await followed.take()
    followed.write_text(json.dumps({"models": {"alpha": {"cmd": f"{command} -c 768"}}}))
    await bench.until(lambda: "768" in bench.get("alpha").load_config)
    followed.write_text(json.dumps({"models": {"other": {"cmd": f"llama-server -m {bench.get('beta').path}"}}}))
    await bench.until(lambda: bench.get("alpha").deprecated)
    assert bench.get("alpha").loaded
    assert bench.backend.running == ["alpha"]


async def test_a_file_is_followed_no_longer(followed: Followed) -> None:
    await followed.take()
    followed.write_text("model_list: [")
    await followed.bench.until(lambda: followed.bench.issues.all())
    await followed.follower.unfollow(followed.path)
    assert followed.bench.issues.all() == []
    assert await followed.follower.files() == []
    assert followed.served() == {"one": "first"}
    with pytest.raises(AppError) as refused:
        await followed.follower.unfollow(followed.path)
    assert (refused.value.code, refused.value.status) == ("not_followed", 404)
    followed.write(one="first", two="second")
    await followed.take()
    followed.write(one="first", two="second", three="third")
    await followed.bench.until(lambda: "three" in followed.served())


async def test_a_file_that_is_gone_is_left_alone(followed: Followed) -> None:
    await followed.take()
    followed.path.unlink()
    await followed.follower.look()
    assert followed.bench.issues.all() == []
    assert followed.served() == {"one": "first"}


async def test_nobody_looks_where_nothing_is_followed(followed: Followed) -> None:
    await followed.follower.open()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "follow imported files"] == []


async def test_a_database_that_fails_for_a_moment_does_not_end_it(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await followed.take()
    registry = followed.bench.catalog.registry
    real, failures = registry.changed_files, iter([AppError("disk_full", "The disk is full.")])

    async def changed_files() -> list[Path]:
        for failure in failures:
            raise failure
        return await real()

    monkeypatch.setattr(registry, "changed_files", changed_files)
    followed.write(one="first", two="second")
    await followed.bench.until(lambda: "two" in followed.served())
