"""The official `openai` client against the proxy and the real engine, unchanged."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from running_core import STARTER, RunningCore, running_core
from scripted_core import wait_for

pytestmark = pytest.mark.engine

MESSAGES: Any = [{"role": "user", "content": "Say hello in five words."}]

ENDLESS: Any = {
    "model": STARTER, "messages": MESSAGES, "max_tokens": 900, "stream": True, "extra_body": {"ignore_eos": True}
}  # fmt: skip


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, starter_file: object) -> Iterator[RunningCore]:
    with running_core(tmp_path_factory.mktemp("data"), keep_alive_delay=0.05, cooldown=0) as running:
        running.http.patch(f"/api/models/{STARTER}/config", json={"load_config": {"n_ctx": 1024}}).raise_for_status()
        yield running


@pytest.fixture(autouse=True)
def known_as_good(core: RunningCore) -> None:
    """Whatever a test before did to the engine, the model may be loaded."""
    wait_for(lambda: core.model()["phase"] in ("loaded", "unloaded"))
    core.http.patch(f"/api/models/{STARTER}/config", json={"compatibility_status": "unknown"}).raise_for_status()


@pytest.fixture
def client(core: RunningCore) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{core.core.public_url}/v1", api_key="EMPTY", max_retries=0) as made:
        yield made


def remembered(core: RunningCore, request_id: str) -> dict[str, Any]:
    """What the core keeps of a request; it is written when the answer has ended."""

    def found() -> list[dict[str, Any]]:
        return [each for each in core.http.get("/api/requests").json() if each["id"] == request_id]

    return dict(wait_for(found)[0])


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert STARTER in [model.id for model in client.models.list()]
    assert client.models.retrieve(STARTER).owned_by == "quarterdeck"


def test_a_stream_that_loads_the_model_first(core: RunningCore, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=STARTER, messages=MESSAGES, max_tokens=16, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip()
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens <= 16
    request = remembered(core, stream.response.headers["x-request-id"])
    assert request["completion_tokens"] == chunks[-1].usage.completion_tokens
    assert 0 < request["first_token_ms"] < request["total_ms"]
    assert request["tokens_per_second"] > 0


def test_a_plain_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=STARTER, messages=MESSAGES, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 8


def test_a_completion_plain_and_streamed(client: openai.OpenAI) -> None:
    plain = client.completions.create(model=STARTER, prompt="One, two, three,", max_tokens=4, temperature=0)
    parts = client.completions.create(
        model=STARTER, prompt="One, two, three,", max_tokens=4, temperature=0, stream=True
    )
    assert plain.choices[0].text.strip()
    assert "".join(part.choices[0].text for part in parts if part.choices) == plain.choices[0].text


def test_embeddings_in_both_encodings(client: openai.OpenAI) -> None:
    default = client.embeddings.create(model=STARTER, input=["one", "two"])
    floats = client.embeddings.create(model=STARTER, input=["one", "two"], encoding_format="float")
    assert [len(item.embedding) for item in default.data] == [len(item.embedding) for item in floats.data]
    assert len(default.data) == 2
    assert len(default.data[0].embedding) > 100


async def test_the_async_client(core: RunningCore) -> None:
    async with openai.AsyncOpenAI(base_url=f"{core.core.public_url}/v1", api_key="EMPTY", max_retries=0) as client:
        plain = await client.chat.completions.create(model=STARTER, messages=MESSAGES, max_tokens=8)
        assert plain.choices[0].message.content
        stream = await client.chat.completions.create(model=STARTER, messages=MESSAGES, max_tokens=8, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert text.strip()


def test_errors_are_the_client_s_own(core: RunningCore, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=STARTER, messages="text")  # type: ignore[call-overload]
    assert "messages" in str(bad.value)


def test_a_client_that_stops_reading_ends_the_generation(core: RunningCore, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**ENDLESS)
    next(iter(stream))
    stream.close()
    assert remembered(core, stream.response.headers["x-request-id"])["status"] == 499
    # The engine has one slot per request; a quick answer shows that it is free again.
    assert client.chat.completions.create(model=STARTER, messages=MESSAGES, max_tokens=2).choices


def test_an_engine_that_is_killed_in_a_stream_is_an_api_error(core: RunningCore, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**ENDLESS)
    arriving = iter(stream)
    next(arriving)
    pid = core.engine_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError) as caught:
        list(arriving)
    assert "stopped answering" in str(caught.value)
    wait_for(lambda: core.attempts()[0]["outcome"] == "failed")
    assert core.model()["phase"] == "unloaded"


def test_an_incompatible_model_is_a_conflict_until_it_is_forced(core: RunningCore, client: openai.OpenAI) -> None:
    core.http.post("/api/orchestrate/unload", json={})
    body = {"compatibility_status": "incompatible", "compatibility_notes": "seen to crash"}
    core.http.patch(f"/api/models/{STARTER}/config", json=body).raise_for_status()
    with pytest.raises(openai.ConflictError) as caught:
        client.chat.completions.create(model=STARTER, messages=MESSAGES, max_tokens=2)
    assert (caught.value.code, caught.value.body["compatibility_notes"]) == ("incompatible", "seen to crash")  # type: ignore[index]
    forced = client.chat.completions.create(
        model=STARTER, messages=MESSAGES, max_tokens=2, extra_headers={"x-quarterdeck-force": "true"}
    )
    assert forced.choices
    assert core.model()["status"] == "degraded"
