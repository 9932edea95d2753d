#!/usr/bin/env python3
"""Behaves like the `vllm` program: the same command line, log lines and answers, a worker process, no model.

What it does is steered by the model folder: a file `how.json` in it with any of
`steps` (pause at each of them until the file `go` exists), `fails` (a recorded log to print, then exit 1),
`stubborn` (ignore SIGTERM), `sleepless` (sleep mode does nothing). It writes its own arguments and environment to
`seen.json` there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ARGV = sys.argv[1:]
FOLDER = Path(ARGV[1])
HOW: dict[str, Any] = json.loads((FOLDER / "how.json").read_text()) if (FOLDER / "how.json").exists() else {}
WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"
LOG = """\
(APIServer pid=9) INFO 11-21 01:57:51 [api_utils.py:347]  version 0.32.0
(EngineCore pid=10) INFO 11-21 01:58:08 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: …
Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00,  3.19it/s]
Loading safetensors checkpoint shards: 100% Completed | 2/2 [00:00<00:00,  3.19it/s]
(Worker pid=12) INFO 11-21 01:58:16 [default_loader.py:501] Loading weights took 0.32 seconds
(EngineCore pid=10) INFO 11-21 01:58:17 [kv_cache_utils.py:2327] GPU KV cache size: 46,592 tokens
(APIServer pid=9) INFO 11-21 01:58:20 [entry.py:140] Starting vLLM server on http://127.0.0.1
""".splitlines()


def value(name: str) -> str:
    return ARGV[ARGV.index(name) + 1]


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asleep = False
    calls: list[str] = []  # noqa: RUF012 - one server per process

    def do_GET(self) -> None:
        names = ARGV[ARGV.index("--served-model-name") + 1 : ARGV.index("--host")]
        match urlsplit(self.path).path:
            case "/health":
                self.answer(200, None)
            case "/version":
                self.answer(200, {"version": "0.32.0"})
            case "/v1/models":
                entries = [{"id": name, "object": "model", "owned_by": "vllm", "root": str(FOLDER)} for name in names]
                self.answer(200, {"object": "list", "data": entries})
            case "/is_sleeping" if self.developing:
                self.answer(200, {"is_sleeping": Server.asleep})
            case "/calls":
                self.answer(200, Server.calls)
            case _:
                self.answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        asked = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Server.calls.append(f"{self.path} {body.decode()}".strip())
        match asked.path:
            case "/sleep" if self.developing:
                Server.asleep = not HOW.get("sleepless")
                self.answer(200, {"status": "sleeping", "level": int(parse_qs(asked.query)["level"][0])})
            case "/wake_up" if self.developing:
                Server.asleep = parse_qs(asked.query).get("tags") == ["weights"]
                self.answer(200, {"status": "awake", "tags": None})
            case "/collective_rpc" if self.developing:
                self.answer(200, None)
            case "/v1/chat/completions" if "--enable-auto-tool-choice" not in ARGV and b'"tools"' in body:
                message = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
                self.answer(400, {"error": {"message": message, "type": "BadRequestError", "code": 400}})
            case "/v1/chat/completions":
                self.answer(200, {"choices": [{"message": {"role": "assistant", "content": "Hello."}}]})
            case _:
                self.answer(404, {"detail": "Not Found"})

    @property
    def developing(self) -> bool:
        return os.environ.get("VLLM_SERVER_DEV_MODE") == "1"

    def answer(self, status: int, content: object) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def load() -> None:
    for line in LOG:
        say(line)
        while HOW.get("steps") and not (FOLDER / "go").exists():
            time.sleep(0.01)


def main() -> None:
    (FOLDER / "seen.json").write_text(json.dumps({"argv": ARGV, "env": dict(os.environ)}))
    if HOW.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Like vLLM, it takes its port before it reads the model.
    server = ThreadingHTTPServer(("127.0.0.1", int(value("--port"))), Server, bind_and_activate=False)
    server.server_bind()
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.readline()
    say(f"worker {worker.pid}")
    if "fails" in HOW:
        say(Path(HOW["fails"]).read_text(errors="replace"))
        worker.kill()
        sys.exit(1)
    load()
    server.server_activate()
    server.serve_forever()


if __name__ == "__main__":
    main()
