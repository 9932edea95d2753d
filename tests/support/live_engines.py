"""A running `serve` that knows every real engine, for failures that are caused there, told and mended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from engine_room import QUESTION, end_listener, free_port
from real_engines import LITELLM, LLAMA_SERVER, OLLAMA, VLLM, VLLM_MODEL
from serve_process import Serve, serving, wait_for

Problem = dict[str, Any]

TAG = "smollm2:latest"
OLLAMA_CONTEXT = 256
LOCKED = "locked"
GATEWAY_KEY = "sk-0123456789abcdef0123456789abcdef"
SECONDS = 200.0


class Live:
    """The program, the ports of its engines, and what a person does with problems."""

    def __init__(self, serve: Serve, folder: Path, starter: Path, ollama_port: int, gateway_port: int) -> None:
        self.serve = serve
        self.folder = folder
        self.starter = starter
        self.ollama_port = ollama_port
        self.gateway_port = gateway_port
        self.gateway_file = folder / "litellm.yaml"

    # -- models

    def add(self, name: str, **fields: Any) -> None:
        answer = self.serve.http.post("/api/models", json={"model_name": name, **fields})
        assert answer.status_code == 201, answer.text

    def load(self, name: str) -> httpx.Response:
        body = {"model_name": name, "force_load": True}
        return self.serve.http.post("/api/orchestrate/load", json=body, timeout=SECONDS)

    def fails(self, name: str) -> Problem:
        """The problem that is told of a model which does not load."""
        answer = self.load(name)
        assert answer.status_code >= 400, answer.text
        return self.problem(f"model:{name}")

    def chat(self, name: str, text: str = "", **fields: Any) -> httpx.Response:
        messages = [{"role": "user", "content": text}] if text else QUESTION
        body = {"model": name, "messages": messages, "max_tokens": 4, **fields}
        return self.serve.http.post("/v1/chat/completions", json=body, timeout=SECONDS)

    def remove(self, name: str) -> None:
        """Unload and forget it; a server of somebody else keeps what it has until it is gone."""
        self.serve.http.post("/api/orchestrate/unload", json={"model_name": name})
        wait_for(lambda: self.serve.http.delete(f"/api/models/{name}").is_success, f"{name} is removed")

    def set(self, **settings: Any) -> None:
        self.serve.http.patch("/api/settings", json=settings).raise_for_status()

    # -- problems

    def problem(self, subject: str, failure_class: str | None = None) -> Problem:
        """The problem of a subject, with that class where it is given; a request is told just after its answer."""

        def found() -> Problem | None:
            told = [each for each in self._problems() if each["subject"] == subject]
            return next((each for each in told if failure_class in (None, each["failure_class"])), None)

        try:
            problem = wait_for(found, subject)
            assert problem is not None
            return problem
        except AssertionError:
            told = [(each["subject"], each["failure_class"], each["title"]) for each in self._problems()]
            raise AssertionError(f"no problem of {subject} with the class {failure_class}: {told}") from None

    def of_client(self, failure_class: str) -> Problem:
        """The problem of some client with that class."""
        told = wait_for(
            lambda: [
                each
                for each in self._problems()
                if each["subject"].startswith("client:") and each["failure_class"] == failure_class
            ],
            f"a client's problem with the class {failure_class}",
        )
        return told[0]

    def over(self, subject: str) -> None:
        """Wait until nothing is wrong with a subject."""
        wait_for(lambda: not any(each["subject"] == subject for each in self._problems()), f"{subject} is mended")

    def mend(self, problem: Problem, entry: str) -> dict[str, Any]:
        """What came of the fix whose patch has that entry, or of that kind; it is shown first."""
        fix = next(each for each in problem["fixes"] if entry in each["patch"] or entry == each["kind"])
        wanted = {"problem_id": problem["id"], "fix_id": fix["id"]}
        preview = self.serve.http.post("/api/fixes/preview", json=wanted).raise_for_status().json()
        assert preview["changes"]
        answer = self.serve.http.post("/api/fixes/apply", json=wanted, timeout=SECONDS)
        return dict(answer.raise_for_status().json())

    def take_back(self, result: dict[str, Any]) -> None:
        self.serve.http.post(f"/api/fixes/{result['undo_id']}/undo").raise_for_status()

    def _problems(self) -> list[Problem]:
        told = self.serve.http.get("/api/problems").raise_for_status().json()
        return [each for each in told if each["source"] != "known issue"]

    # -- engines

    @property
    def ollama_url(self) -> str:
        return f"http://127.0.0.1:{self.ollama_port}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    def act(self, server: str, action: str) -> httpx.Response:
        return self.serve.http.post(f"/api/backends/{server}/{action}", timeout=SECONDS)

    def make_ollama_model(self) -> None:
        """Let Quarterdeck start Ollama, and make a model there with Ollama's own command."""
        self.act("ollama", "start").raise_for_status()
        file = self.folder / "Modelfile"
        file.write_text(f"FROM {self.starter}\nPARAMETER num_ctx {OLLAMA_CONTEXT}\n")
        subprocess.run(
            [OLLAMA, "create", TAG, "-f", file],
            env={**os.environ, "OLLAMA_HOST": self.ollama_url}, check=True, capture_output=True, timeout=120,
        )  # fmt: skip

    @property
    def ollama_weights(self) -> Path:
        """The file in which Ollama keeps the weights of its model."""
        blobs = (self.folder / "ollama-models" / "blobs").iterdir()
        return max(blobs, key=lambda file: file.stat().st_size)

    def vllm_folder(self, name: str) -> Path:
        """A copy of vLLM's model whose small files may be changed; the weights are a link."""
        folder = self.folder / name
        shutil.copytree(VLLM_MODEL, folder, ignore=lambda _folder, names: [n for n in names if "safetensors" in n])
        (folder / "model.safetensors").symlink_to(VLLM_MODEL / "model.safetensors")
        return folder

    @contextlib.contextmanager
    def locked_server(self, key: str) -> Iterator[str]:
        """The address of a llama-server of somebody else, which wants a key."""
        port = free_port()
        process = subprocess.Popen(
            [LLAMA_SERVER, "--model", self.starter, "--alias", LOCKED, "--port", str(port), "--api-key", key],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(lambda: _is_healthy(port), "llama-server answers")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stranger(port: int) -> Iterator[int]:
    """A web server on that port that knows nothing of models; its pid."""
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _is_there(port), "the web server answers")
            yield process.pid
        finally:
            process.kill()


@contextlib.contextmanager
def live_engines(folder: Path, starter: Path) -> Iterator[Live]:
    """Start `serve`; no engine runs yet, and those that are not installed are missed only where they are used."""
    ollama_port, gateway_port = free_port(), free_port()
    environment = {
        "QUARTERDECK_OLLAMA_URL": f"http://127.0.0.1:{ollama_port}",
        "QUARTERDECK_LITELLM_URL": f"http://127.0.0.1:{gateway_port}",
        "QUARTERDECK_COOLDOWN": "0",
        "OLLAMA_MODELS": str(folder / "ollama-models"),
        "LITELLM_MASTER_KEY": GATEWAY_KEY,
        "HF_HUB_OFFLINE": "1",
    }
    try:
        with serving(folder / "data", **environment) as serve:
            live = Live(serve, folder, starter, ollama_port, gateway_port)
            live.set(
                ollama_command=str(OLLAMA), litellm_command=str(LITELLM), vllm_command=str(VLLM),
                llama_server_command=str(LLAMA_SERVER), litellm_config=str(live.gateway_file), vllm_port=0,
            )  # fmt: skip
            yield live
            serve.terminate()
    finally:
        end_listener(ollama_port)
        end_listener(gateway_port)


def _is_healthy(port: int) -> bool:
    return _status(port, "/health") == 200


def _is_there(port: int) -> bool:
    return _status(port, "/") is not None


def _status(port: int, path: str) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code
    except httpx.TransportError:
        return None
