"""A core in front of a patient engine, for requests that no client should send."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from direct_calls import Answer, DirectCalls
from malformed import Sent
from malformed_verdict import faults
from patient_engine import NAME, PatientEngine, patient_engine
from scripted_core import ScriptedCore, scripted_core

KEY = "sk-of-the-backend-7d1f"
MODELS = ("plain", "gate", "llama", "lite")
"""One at each kind of backend: embedded, an OpenAI-compatible server with a key, Ollama, LiteLLM."""
_CAPABILITIES = ["chat", "vision", "tools", "embeddings", "rerank", "audio", "images"]
_PICTURES = ["embedded", "openai-compatible", "litellm", "ollama"]


@dataclass
class MalformedRoom:
    """`secrets` are texts that no client may learn."""

    core: ScriptedCore
    engine: PatientEngine
    call: DirectCalls
    secrets: tuple[str, ...]

    def faults(self, sent: Sent) -> list[str]:
        """What is wrong with the answer to a request, and with what the engine got."""
        answer = self.call(sent)
        found = faults(sent.method, sent.path, *answer, self.secrets)
        complaints, self.engine.complaints = self.engine.complaints, []
        return found + complaints

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """The answer to a request, which has no faults; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": "application/json", **headers}
        lines = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in named.items()]
        sent = Sent("POST", path.encode(), lines, [data])
        answer = self.call(sent)
        assert faults(sent.method, path, *answer, self.secrets) == []
        assert self.engine.complaints == []
        return answer

    @property
    def running(self) -> int:
        """Requests that are under way."""
        active = sum(each.active_requests for each in self.core.backend.instances.values())
        return active + self.core.core._clients.requests.running


@contextlib.contextmanager
def malformed_room(folder: Path) -> Iterator[MalformedRoom]:
    settings = {"downscale_backends": _PICTURES, "capture_requests": True}
    with (
        patient_engine() as engine,
        scripted_core(folder, engine_url=engine.url, every_engine=True, ollama_url=engine.url, **settings) as core,
    ):
        core.add("plain")
        core.http.patch("/api/models/plain/config", json={"capabilities": _CAPABILITIES}).raise_for_status()
        server = {"url": engine.url, "kind": "openai-compatible", "name": "gateway", "api_key": KEY}
        core.http.post("/api/servers", json=server).raise_for_status()
        for name, kind in (("gate", "openai-compatible"), ("llama", "ollama"), ("lite", "litellm")):
            model = {"model_name": name, "url": engine.url, "backend": kind, "served_name": NAME}
            core.http.post("/api/models", json=model).raise_for_status()
        engine.complaints.clear()
        yield MalformedRoom(core, engine, DirectCalls(core), (core.thread.token, str(folder), KEY))
