"""A program that behaves like an engine: small_engine.py PORT [worker|stubborn|broken|never]."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

HOW = sys.argv[2] if len(sys.argv) > 2 else ""
SLEEP = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('worker up', flush=True); time.sleep(60)"
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


if HOW == "broken":
    sys.exit("error: the file is broken")
if HOW == "never":
    threading.Event().wait()
if HOW == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if HOW == "worker":
    worker = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    worker.stdout.readline()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
