"""The display goes away under the window: the program ends in order and leaves no engine behind."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serve_process import PROGRAM, STARTER, AppProcess, surroundings, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.desktop]


@pytest.fixture
def display() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An X server of this test, and its name."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed: the loss of a real display is not tested")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x700x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    yield server, f":{server.stdout.readline().strip()}"
    server.kill()
    server.wait()
    server.stdout.close()


def test_without_its_display_it_stops_the_engine_and_ends(
    tmp_path: Path, starter_file: object, display: tuple[subprocess.Popen[str], str]
) -> None:
    server, name = display
    data = tmp_path / "data"
    environment = surroundings(data, QT_QPA_PLATFORM="xcb", DISPLAY=name, QUARTERDECK_PORT="0")
    window = AppProcess(PROGRAM, data, environment)
    try:
        wait_for((data / "core.json").exists, "the core answers")
        token = (data / "token").read_text(encoding="ascii")
        url = json.loads((data / "core.json").read_text(encoding="utf-8"))["control_url"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(
            f"{url}/api/orchestrate/load", json={"model_name": STARTER}, headers=headers, timeout=60, trust_env=False
        )
        assert answer.status_code == 200
        server.terminate()
        assert window.wait() == 1
        assert "Traceback" not in window.err
        assert window.engines() == []
        assert not (data / "core.json").exists()
    finally:
        window.end()
