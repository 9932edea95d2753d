"""The doctor and a real nginx in front of a server, configured well and badly."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_wall import CORS, ORIGIN, Server, serving

from quarterdeck.diagnosis.doctor.doctor import Doctor
from quarterdeck.diagnosis.doctor.machine import Machine
from quarterdeck.diagnosis.doctor.targets import Target
from quarterdeck.schemas.doctor import DoctorReport, StepState

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="nginx is not installed: a real web server in front is not tested"
)

GOOD = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; "
    "proxy_buffering off; client_max_body_size 100m;"
)
# Buffering alone lets small pieces pass to a fast client; together with compression it holds all of them.
COMPRESSED = "gzip on; gzip_types text/event-stream; gzip_min_length 0;"


@asynccontextmanager
async def nginx(folder: Path, behind: int, lines: str) -> AsyncIterator[int]:
    """The port at which it listens; it cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}} "
        f"http {{ access_log off; {paths} "
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{behind}; {lines} }} }} }}"
    )
    process = await asyncio.create_subprocess_exec(
        "nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while not await _listens(port):
                await asyncio.sleep(0.02)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def faults(port: int, **asked: Any) -> dict[str, str]:
    doctor = Doctor(environment={}, machine=Machine({}, root=Path("/nowhere")))
    target = Target("x", f"http://127.0.0.1:{port}/v1", websocket="/live", **asked)
    report = [step async for step in doctor.examine(target)][-1]
    assert isinstance(report, DoctorReport)
    return {step.name: step.code for step in report.steps if step.state in (StepState.WARN, StepState.FAILED)}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (GOOD, {}),
        (GOOD.replace("proxy_buffering off;", COMPRESSED), {"stream": "stream_buffered"}),
        (GOOD.replace("client_max_body_size 100m;", ""), {"front": "front_body_limit"}),
        (GOOD.replace("proxy_set_header Upgrade $http_upgrade;", ""), {"websocket": "websocket_not_upgraded"}),
        (
            "",
            {"front": "front_body_limit", "stream": "stream_buffered", "websocket": "websocket_not_upgraded"},
        ),
        (GOOD + "proxy_read_timeout 50ms;", {"stream": "answer_cut"}),
        (GOOD + "rewrite ^/v1/(.*)$ /$1 break;", {"path": "front_takes_v1"}),
        (GOOD + "deny all;", {"key": "forbidden", "websocket": "websocket_refused"}),
    ],
    ids=["good", "buffering", "small bodies", "no upgrade", "bare", "short limit", "path cut", "forbidden"],
)
async def test_nginx_in_front(tmp_path: Path, lines: str, expected: dict[str, str]) -> None:
    server = Server(websocket="good", pause=0.08)
    async with serving(server) as behind, nginx(tmp_path, behind, lines) as port:
        assert await faults(port) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("proxy_set_header Authorization '';", {"key": "key_lost"}),
        ("add_header Access-Control-Allow-Origin '*' always;", {"cors": "cors_twice"}),
        ("if ($request_method = OPTIONS) { return 405; }", {"cors": "cors_off"}),
    ],
    ids=["key", "permission", "preflight"],
)
async def test_nginx_between_a_page_and_a_server(tmp_path: Path, lines: str, expected: dict[str, str]) -> None:
    server = Server(websocket="good", cors=CORS, key="sk-abcdefgh12345")
    async with serving(server) as behind, nginx(tmp_path, behind, GOOD + lines) as port:
        assert await faults(port, key="sk-abcdefgh12345", origin=ORIGIN) == expected


async def test_nginx_without_a_server_behind(tmp_path: Path) -> None:
    async with nginx(tmp_path, 1, GOOD) as port:
        found = await faults(port)
    assert found["models"] == "http_502"
