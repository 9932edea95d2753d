"""Known issues of what is here, though nothing failed: models, servers, requests, programs on the GPU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from fake_openai import FakeOpenAI
from scripted_core import ScriptedCore

from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.mending.known import Known
from quarterdeck.schemas.hardware import GpuProcess, HardwareSample


def known(core: ScriptedCore) -> set[tuple[str, str]]:
    """The ids and subjects of the entries that are shown."""
    found = core.http.get("/api/problems").raise_for_status().json()
    return {(each["known_issue"], each["subject"]) for each in found if each["source"] == "known issue"}


def test_a_model_that_an_entry_is_about(core: ScriptedCore) -> None:
    core.add("gemma-2-9b-it")
    core.add("tiny")
    assert known(core) == {("gemma-2-system-role", "model:gemma-2-9b-it")}


@pytest.fixture
async def optillm() -> AsyncIterator[FakeOpenAI]:
    made = FakeOpenAI(models=("twin",))
    await made.start()
    yield made
    await made.stop()


async def test_servers_that_offer_the_same_ids(core: ScriptedCore, optillm: FakeOpenAI) -> None:
    other = FakeOpenAI(models=("other",))
    await other.start()
    try:
        for name, url in (("optillm", optillm.url), ("second", other.url)):
            body = {"url": url, "name": name}
            (await asyncio.to_thread(core.http.post, "/api/servers", json=body)).raise_for_status()
        assert await asyncio.to_thread(known, core) == set()
        other.models.append("twin")
        (await asyncio.to_thread(core.http.post, "/api/scan", json={})).raise_for_status()
        assert await asyncio.to_thread(known, core) == {("optillm-webui", "server:optillm")}
    finally:
        await other.stop()


async def test_programs_of_others_that_hold_gpu_memory(core: ScriptedCore) -> None:
    (sample,) = core.http.get("/api/hardware").json()[-1:]
    held = [GpuProcess(gpu=0, pid=1, name=name) for name in ("ComfyUI", "ComfyUI", "somegame")]
    hardware = HardwareSample.model_validate(sample).model_copy(update={"processes": held})
    nothing: Any = SimpleNamespace(all=list, views=list, recent=lambda **_: [])
    asked = Known(KnownIssues(core.folder / "known-issues.md"), nothing, nothing, nothing, lambda: hardware)
    assert [each.known_issue for each in await asked.problems()] == ["comfyui-keeps-memory"]
