"""Ollama's interface as Quarterdeck offers it beside the real Ollama: both answer the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import psutil
import pytest
from ollama_front import Front, model, ollama_front
from real_engines import OLLAMA, needs

from quarterdeck.backends.process import free_port

pytestmark = [
    pytest.mark.engine,
    needs(OLLAMA, "whether Ollama's clients can tell Quarterdeck from the real Ollama"),
]

NO_BLOB = f"sha256:{'0' * 64}"
NO_REGISTRY = "127.0.0.1:9/library/x"


@pytest.fixture
async def real(tmp_path: Path, starter_file: Path) -> AsyncIterator[str]:
    """The address of a real Ollama that has the starter model."""
    host = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "OLLAMA_HOST": host, "OLLAMA_MODELS": str(tmp_path / "models")}
    process = subprocess.Popen(
        [str(OLLAMA), "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until_answers(f"http://{host}")
        modelfile = tmp_path / "Modelfile"
        modelfile.write_text(f"FROM {starter_file}\nPARAMETER num_ctx 512\n")
        await asyncio.to_thread(
            subprocess.run, [str(OLLAMA), "create", "smollm2", "-f", str(modelfile)],
            env=environment, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        yield f"http://{host}"
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


async def until_answers(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(30):
        while True:
            try:
                await http.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture
async def front(real: str) -> AsyncIterator[Front]:
    async with ollama_front(real) as running:
        await running.look()
        yield running


def shape(value: Any) -> Any:
    """The names and types of a JSON value, without what it says."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


def words(answer: httpx.Response) -> list[Any]:
    """What an answer says, line by line: without what we add to errors, and without which layers are new this time."""
    text = re.sub(r"(using existing|creating new) layer sha256:[0-9a-f]{64}", "layer", answer.text)
    lines = [json.loads(line) if line.startswith("{") else line for line in text.splitlines()]
    return [{key: value for key, value in line.items() if key != "code"} if isinstance(line, dict) else line
            for line in lines]  # fmt: skip


async def both(front: Front, method: str, path: str, **options: Any) -> tuple[httpx.Response, httpx.Response]:
    """What the real one answers, and what we answer."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        theirs = await http.request(method, front.ollama_url + path, **options)
        return theirs, await http.request(method, front.url + path, **options)


def in_order(shown: dict[str, Any]) -> dict[str, Any]:
    """What is known of a model; Ollama writes its parameters in an order that changes."""
    return {**shown, **{key: sorted(shown[key].split("\n")) for key in ("modelfile", "parameters")}}


async def test_lists_have_the_same_shape_and_tell_the_same(front: Front) -> None:
    theirs, ours = await both(front, "GET", "/api/tags")
    assert shape(ours.json()) == shape(theirs.json())
    (theirs,), (ours,) = theirs.json()["models"], ours.json()["models"]
    assert {key: ours[key] for key in ("name", "model", "size", "details")} == {
        key: theirs[key] for key in ("name", "model", "size", "details")
    }


async def test_what_is_in_memory_has_the_same_shape(front: Front) -> None:
    async with ollama.AsyncClient(host=front.ollama_url) as client:
        await client.generate("smollm2", options={"num_predict": 1})
    front.load("smollm2:latest", config={"num_ctx": 512})
    theirs, ours = await both(front, "GET", "/api/ps")
    # Servers after this version tell the context too, and their clients show it.
    context = {"context_length": "int"}
    assert shape(ours.json())["models"][0] == shape(theirs.json())["models"][0] | context


async def test_a_model_shows_the_same(front: Front) -> None:
    for body in ({"model": "smollm2"}, {"model": "smollm2:latest", "verbose": True}, {"name": "smollm2"}):
        theirs, ours = await both(front, "POST", "/api/show", json=body)
        assert in_order(ours.json()) == in_order(theirs.json())


async def test_a_model_of_another_engine_shows_what_clients_read(front: Front) -> None:
    known = {"architecture": "llama", "parameter_count": 5, "context_length": 8, "capabilities": ["chat"]}
    await front.add(model("tiny", **known))
    theirs, _ = await both(front, "POST", "/api/show", json={"model": "smollm2"})
    _, ours = await both(front, "POST", "/api/show", json={"model": "tiny"})
    told, shown = theirs.json(), ours.json()
    assert shape(shown) == shape(told) | {
        "model_info": {key: shape(told["model_info"][key]) for key in shown["model_info"]}, "tensors": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", None),
        ("GET", "/api/version", None),
        ("POST", "/api/show", {}),
        ("POST", "/api/show", {"model": "nope"}),
        ("POST", "/api/show", None),
        ("POST", "/api/copy", {"source": "nope", "destination": "x"}),
        ("POST", "/api/copy", {"source": "smollm2"}),
        ("POST", "/api/copy", None),
        ("POST", "/api/create", {"model": "x"}),
        ("POST", "/api/create", {"model": "x", "stream": False}),
        ("POST", "/api/create", {"model": "y", "from": "smollm2", "parameters": {"num_ctx": 256}}),
        ("POST", "/api/create", {"model": "y", "from": "smollm2", "parameters": {"num_ctx": 256}, "stream": False}),
        ("DELETE", "/api/delete", {"model": "nope"}),
        ("DELETE", "/api/delete", None),
        ("POST", "/api/pull", {"model": NO_REGISTRY, "insecure": True}),
        ("POST", "/api/pull", {"model": NO_REGISTRY, "insecure": True, "stream": False}),
        ("POST", "/api/pull", {}),
        ("POST", "/api/push", {"model": NO_REGISTRY, "insecure": True}),
        ("POST", "/api/push", {"model": NO_REGISTRY, "insecure": True, "stream": False}),
        ("HEAD", f"/api/blobs/{NO_BLOB}", None),
        ("HEAD", "/api/blobs/nonsense", None),
        ("POST", f"/api/blobs/{NO_BLOB}", "not what the digest says"),
    ],
)
async def test_answers_are_the_same(front: Front, method: str, path: str, body: Any) -> None:
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    theirs, ours = await both(front, method, path, content=content)
    assert (ours.status_code, words(ours)) == (theirs.status_code, words(theirs))
    assert (
        ours.headers.get("content-type", "").partition(";")[0]
        == (theirs.headers.get("content-type", "").partition(";")[0])
    )


async def test_a_model_is_made_of_a_file_that_is_sent_through(front: Front, starter_file: Path, tmp_path: Path) -> None:
    """The file is larger than a request may be: it is never held."""
    front.settings = front.settings.model_copy(update={"body_limit": 1})
    # One byte more, or the server would have it already.
    file = tmp_path / "other.gguf"
    file.write_bytes(starter_file.read_bytes() + b"\0")
    async with ollama.AsyncClient(host=front.url) as client:
        digest = await client.create_blob(file)
        assert digest == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.head(f"{front.url}/api/blobs/{digest}")).status_code == 200
        steps = [each.status async for each in await client.create("sent", files={file.name: digest}, stream=True)]
        assert steps[-1] == "success"
        assert "sent:latest" in {each.model for each in (await client.list()).models}


async def test_a_model_is_copied_shown_and_deleted(front: Front) -> None:
    async with ollama.AsyncClient(host=front.url) as client:
        assert (await client.copy("smollm2", "twin")).status == "success"
        assert (await client.show("twin")).template == (await client.show("smollm2")).template
        assert (await client.delete("twin")).status == "success"
        assert {each.model for each in (await client.list()).models} == {"smollm2:latest"}


async def test_ollamas_own_program_is_at_home(front: Front, tmp_path: Path) -> None:
    await front.add(model("tiny", size_bytes=5_000_000, quantization="Q4_1", context_length=8192))
    environment = {**os.environ, "OLLAMA_HOST": front.url, "OLLAMA_MODELS": str(tmp_path / "models")}

    async def run(*arguments: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run, [str(OLLAMA), *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    listed = await run("list")
    assert "tiny:latest" in listed
    assert "smollm2:latest" in listed
    assert "num_ctx" in await run("show", "smollm2")
    assert "Q4_1" in await run("show", "tiny")
    front.load("tiny")
    assert "tiny:latest" in await run("ps")
