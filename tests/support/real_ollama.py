"""A real Ollama of one's own, with the starter model."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from real_engines import OLLAMA

from quarterdeck.backends.process import free_port

TOOLS_TEMPLATE = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}"
    '{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}'
    "<|im_end|>\n{{ end }}{{ .Tools }}<|im_start|>assistant\n"
)


@contextmanager
def real_ollama(folder: Path, model_file: Path) -> Iterator[str]:
    """The address of an Ollama with the models `smollm2` and `tooled`, whose template takes tools."""
    host = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "OLLAMA_HOST": host, "OLLAMA_MODELS": str(folder / "models")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([str(OLLAMA), "serve"], env=environment, **quiet)
    try:
        _until_answers(f"http://{host}")
        for name, more in (("smollm2", ""), ("tooled", f'TEMPLATE """{TOOLS_TEMPLATE}"""\n')):
            modelfile = folder / f"Modelfile.{name}"
            modelfile.write_text(f"FROM {model_file}\nPARAMETER num_ctx 512\n{more}")
            command = [str(OLLAMA), "create", name, "-f", str(modelfile)]
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
        yield f"http://{host}"
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def _until_answers(url: str) -> None:
    deadline = time.monotonic() + 30
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < deadline:
            try:
                http.get(url)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
    raise TimeoutError(f"nothing answers at {url}")
