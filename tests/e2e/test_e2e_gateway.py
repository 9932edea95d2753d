"""A LiteLLM gateway of ours beside the engines: its models answer, and its costly health check is never asked."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from engine_room import OLLAMA_MODEL, TAG, EngineRoom, engine_room, free_port
from real_engines import LITELLM, OLLAMA, needs
from serve_process import STARTER, wait_for

WHAT = "a LiteLLM gateway beside the engines"
pytestmark = [pytest.mark.engine, pytest.mark.slow, needs(OLLAMA, WHAT), needs(LITELLM, WHAT)]

KEY = "sk-0123456789abcdef0123456789abcdef"
CLOUD = "cloud-model"
ON_OLLAMA = "ollama-through-the-gateway"


class Upstream(ThreadingHTTPServer):
    """The cloud behind the gateway; it counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        upstream = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                upstream.asked.append(body["messages"][-1]["content"])
                message = {"role": "assistant", "content": "From the cloud."}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
                told = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
                answer = json.dumps({**told, "usage": usage}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answer)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def room(data_dir: Path, starter_file: Path, upstream: Upstream) -> Iterator[EngineRoom]:
    config = data_dir.with_name("gateway.yaml")
    environment = {
        "QUARTERDECK_LITELLM_COMMAND": str(LITELLM),
        "QUARTERDECK_LITELLM_URL": f"http://127.0.0.1:{free_port()}",
        "QUARTERDECK_LITELLM_CONFIG": str(config),
        "LITELLM_MASTER_KEY": KEY,
        "QUARTERDECK_MINIMUM_RESIDENCE": "0",
    }
    with engine_room(data_dir, starter_file, vllm=False, **environment) as made:
        config.write_text(
            "model_list:\n"
            + entry(CLOUD, f"http://127.0.0.1:{upstream.server_port}/v1", "some-model")
            + entry(ON_OLLAMA, f"{made.ollama_url}/v1", TAG)
        )
        for name in (CLOUD, ON_OLLAMA):
            body = {"model_name": name, "url": environment["QUARTERDECK_LITELLM_URL"], "backend": "litellm"}
            assert made.serve.http.post("/api/models", json=body).status_code == 201
        yield made


def entry(name: str, url: str, model: str) -> str:
    return f"  - model_name: {name}\n    litellm_params: {{model: openai/{model}, api_base: '{url}', api_key: x}}\n"


def test_a_gateway_beside_the_engines(room: EngineRoom, upstream: Upstream) -> None:
    assert room.chat(STARTER).status_code == 200
    answer = room.chat(CLOUD)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "From the cloud."
    assert room.backend_of(answer) == "litellm"
    # It takes none of this machine's memory: what is loaded stays.
    assert set(room.loaded()) == {STARTER, CLOUD}
    gateway = room.backend("litellm")
    assert (gateway["state"], gateway["owner"]["kind"], gateway["actions"][:1]) == ("running", "quarterdeck", ["stop"])

    # What the gateway let Ollama load makes room, though nobody told us of it.
    assert room.chat(ON_OLLAMA).status_code == 200
    assert room.resident_on_ollama() == [TAG]
    assert room.serve.http.post("/api/orchestrate/unload", json={"model_name": STARTER}).status_code == 200
    assert room.chat(STARTER).status_code == 200
    assert room.resident_on_ollama() == []
    assert room.chat(OLLAMA_MODEL).status_code == 200

    room.serve.http.post("/api/scan", json={}).raise_for_status()
    assert upstream.asked == ["Say yes."]
    lines = [line["text"] for line in room.serve.http.get("/api/backends/litellm/logs?tail=5000").json()]
    assert any("/health/liveliness" in line for line in lines)
    assert not [line for line in lines if '"GET /health ' in line]

    os.kill(gateway["pid"], signal.SIGKILL)
    wait_for(lambda: room.phase(CLOUD) == "unloaded", "its models count as unloaded")
    assert room.backend("litellm")["state"] == "failed"
    assert room.serve.model(CLOUD)["status"] == "compatible"
    assert room.chat(CLOUD).status_code == 200
    assert room.backend("litellm")["pid"] != gateway["pid"]
    assert OLLAMA_MODEL in room.loaded()
    assert room.serve.terminate() == 0
