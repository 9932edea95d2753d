#!/usr/bin/env python3
"""Behaves like the `llama-server` program, alone or as a router: arguments, answers and states, no model.

FAKE_LLAMA_HELP names a file with the help text. Beside the model (or in the router's folder) a file `how.json` may hold
`waits` (load only when the file `go` exists), `fails` (an exit code), `keeps` (the router unloads nothing).
Its arguments are written to `seen.json` there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ARGV = sys.argv[1:]


def value(name: str, default: str = "") -> str:
    return ARGV[ARGV.index(name) + 1] if name in ARGV else default


MODEL = Path(value("--model")) if "--model" in ARGV else None
FOLDER = MODEL.parent if MODEL else Path(value("--models-dir", "."))
HOW: dict[str, Any] = json.loads((FOLDER / "how.json").read_text()) if (FOLDER / "how.json").exists() else {}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def wait_until_loaded() -> None:
    while HOW.get("waits") and not (FOLDER / "go").exists():
        time.sleep(0.01)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path:
            case "/health":
                self.answer(200 if STATE.ready else 503, {"status": "ok"})
            case "/props":
                self.answer(200, {"build_info": "b8931-9725a313b"})
            case "/v1/models" | "/models":
                self.answer(200, {"object": "list", "data": STATE.entries()})
            case "/calls":
                self.answer(200, STATE.calls)
            case _:
                self.answer(404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        name = body.get("model", "")
        STATE.calls.append(f"{self.path} {name}")
        if self.path == "/models/load" and MODEL is None:
            return self.refuse("model is already running") if name in STATE.running else self.load(name)
        if self.path == "/models/unload" and MODEL is None:
            return self.unload(name) if name in STATE.running else self.refuse("model is not running")
        return self.answer(404, {"error": {"code": 404, "message": "File Not Found"}})

    def load(self, name: str) -> None:
        STATE.running[name] = "loading"
        threading.Thread(target=STATE.load, args=(name,), daemon=True).start()
        self.answer(200, {"success": True})

    def unload(self, name: str) -> None:
        if not HOW.get("keeps"):
            del STATE.running[name]
        self.answer(200, {"success": True})

    def refuse(self, message: str) -> None:
        self.answer(400, {"error": {"code": 400, "message": message, "type": "invalid_request_error"}})

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class State:
    """What the server holds."""

    def __init__(self) -> None:
        self.ready = MODEL is None
        self.running: dict[str, str] = {}
        self.failed: dict[str, int] = {}
        self.calls: list[str] = []

    def entries(self) -> list[dict[str, Any]]:
        if MODEL is not None:
            return [{"id": value("--alias", str(MODEL)), "owned_by": "llamacpp"}]
        return [{"id": file.stem, "status": self.status(file.stem)} for file in sorted(FOLDER.glob("*.gguf"))]

    def status(self, name: str) -> dict[str, Any]:
        failure = {"failed": True, "exit_code": self.failed[name]} if name in self.failed else {}
        return {"value": self.running.get(name, "unloaded"), **failure}

    def load(self, name: str) -> None:
        wait_until_loaded()
        if "fails" in HOW:
            self.failed[name] = HOW["fails"]
            self.running.pop(name, None)
        elif name in self.running:
            self.running[name] = "loaded"


STATE = State()


def main() -> None:
    if "--help" in ARGV:
        say(Path(os.environ["FAKE_LLAMA_HELP"]).read_text())
        return
    (FOLDER / "seen.json").write_text(json.dumps({"argv": ARGV, "env": dict(os.environ)}))
    # Like llama-server, it answers while it loads.
    server = ThreadingHTTPServer(("127.0.0.1", int(value("--port"))), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if MODEL is not None:
        say(f"load_tensors: loading model tensors, this can take a while... (mmap = true) {MODEL}")
        wait_until_loaded()
        if "fails" in HOW:
            say("0.00.1 E llama_model_load: error loading model: tensor 'x' not found")
            say("main: exiting due to model loading error")
            sys.exit(HOW["fails"])
        say("llama_context: constructing llama_context")
        say("common_init_from_params: warming up the model with an empty run")
        STATE.ready = True
    threading.Event().wait()


if __name__ == "__main__":
    main()
