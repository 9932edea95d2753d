"""What clients run into: names that nobody has, keys that are refused; and servers that want a key of us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fake_openai import FakeOpenAI
from mender import Mender
from scripted_core import ScriptedCore

from quarterdeck.mending.makers import PLACEHOLDER_KEY


def chat(core: ScriptedCore, model: str, key: str = "") -> int:
    return httpx.post(
        f"{core.public_url}/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "Hello"}]},
        headers={"authorization": f"Bearer {key}"} if key else {},
        trust_env=False,
    ).status_code


def problems(core: ScriptedCore, subject: str) -> list[dict[str, Any]]:
    return [each for each in core.http.get("/api/problems").json() if each["subject"].startswith(subject)]


def aliases(core: ScriptedCore, name: str) -> list[str]:
    return list(core.http.get(f"/api/models/{name}").json()["aliases"])


class TestUnknownNames:
    def test_a_model_answers_to_the_name_that_a_client_asks_for(self, core: ScriptedCore, mender: Mender) -> None:
        name = core.add()
        core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True}).raise_for_status()
        assert [chat(core, "gpt-4o-mini") for _ in range(2)] == [404, 404]
        (problem,) = problems(core, "client:")
        assert (problem["times"], problem["failure_class"]) == (2, "model_not_found")
        assert "gpt-4o-mini" in problem["title"]
        preview = mender.ask("preview", problem, "alias")
        assert (preview["changes"][0]["before"], preview["changes"][0]["after"]) == ("not set", "gpt-4o-mini")
        assert aliases(core, name) == []

        result = mender.ask("apply", problem, "alias")
        assert aliases(core, name) == ["gpt-4o-mini"]
        assert problems(core, "client:") == []
        mender.undo(result["undo_id"]).raise_for_status()
        assert aliases(core, name) == []

    def test_a_name_written_alike_comes_first(self, core: ScriptedCore) -> None:
        names = [core.add("qwen3-4b"), core.add("tiny")]
        for name in names:
            core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True}).raise_for_status()
        chat(core, "qwen3-4b-instruct")
        (problem,) = problems(core, "client:")
        assert [fix["target"] for fix in problem["fixes"]] == ["qwen3-4b", "tiny"]

    def test_models_that_never_ran_are_not_offered(self, core: ScriptedCore) -> None:
        core.add("qwen3-4b")
        chat(core, "qwen3-4b-instruct")
        (problem,) = problems(core, "client:")
        assert problem["fixes"] == []


class TestRefusedKeys:
    def test_a_client_with_a_wrong_key_is_told_of_until_it_gets_in(self, core: ScriptedCore) -> None:
        right = core.http.post("/api/keys", json={"name": "somebody"}).raise_for_status().json()["key"]
        assert [chat(core, "any", "wrong") for _ in range(3)] == [401] * 3
        (problem,) = problems(core, "client:")
        assert (problem["times"], problem["failure_class"]) == (3, "auth_invalid_key")
        assert problem["hint"]
        name = core.add()
        core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True}).raise_for_status()
        chat(core, name, right)
        assert problems(core, "client:") == []
        chat(core, name, "wrong")
        assert [each["times"] for each in problems(core, "client:")] == [1]


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    made = FakeOpenAI()
    await made.start()
    yield made
    await made.stop()


class TestServersThatWantAKey:
    @pytest.mark.parametrize("real", [False, True])
    async def test_a_placeholder_is_tried(
        self, core: ScriptedCore, mender: Mender, server: FakeOpenAI, real: bool
    ) -> None:
        server.key = "sk-of-somebody" if real else PLACEHOLDER_KEY
        body = {"url": server.url, "name": "office", "kind": "openai-compatible"}
        added = await asyncio.to_thread(core.http.post, "/api/servers", json=body)
        added.raise_for_status()
        problem = await asyncio.to_thread(mender.problem, "server:office")
        assert (problem["severity"], problem["failure_class"]) == ("low", "auth_invalid_key")
        result = await asyncio.to_thread(mender.ask, "apply", problem, "placeholder_key")
        assert result["worked"] is not real
        left = await asyncio.to_thread(problems, core, "server:office")
        assert bool(left) is real
        if not real:
            (await asyncio.to_thread(mender.undo, result["undo_id"])).raise_for_status()
            assert await asyncio.to_thread(problems, core, "server:office")
        else:
            assert result["undo_id"] is None

    async def test_a_key_that_is_refused_has_no_placeholder_in_its_place(
        self, core: ScriptedCore, server: FakeOpenAI
    ) -> None:
        server.key = "sk-of-somebody"
        body = {"url": server.url, "name": "office", "kind": "openai-compatible", "api_key": "sk-old"}
        added = await asyncio.to_thread(core.http.post, "/api/servers", json=body)
        added.raise_for_status()
        (problem,) = await asyncio.to_thread(problems, core, "server:office")
        assert (problem["severity"], problem["fixes"]) == ("medium", [])
        assert "refuses" in problem["title"]
