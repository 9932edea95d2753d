"""Who may call: host names, web origins and the token, on both listeners alike."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from scripted_core import ScriptedCore

from quarterdeck.control.security import local_token

Ask = Callable[..., httpx.Response]


@pytest.fixture(params=["private", "public"])
def ask(request: pytest.FixtureRequest, core: ScriptedCore) -> Ask:
    """Sends a request to one of the two listeners; without a token unless one is given."""
    base = core.url if request.param == "private" else core.public_url

    def send(
        path: str = "/api/models", *, method: str = "GET", token: str | None = None, **headers: str
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = token
        encoded = {name: value.encode("latin-1") for name, value in named.items()}
        return httpx.request(method, base + path, headers=encoded, trust_env=False, timeout=20)

    return send


@pytest.fixture
def token(core: ScriptedCore) -> str:
    return f"Bearer {core.thread.token}"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost", "localhost:8100", "127.0.0.1", "127.0.0.1:1", "127.0.0.2:8100", "[::1]", "[::1]:8100",
     "deck.lan", "DECK.LAN:80", os.uname().nodename],
)  # fmt: skip
def test_known_hosts_are_served(ask: Ask, host: str) -> None:
    assert ask("/health", host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8100", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.5",
     "[fe80::1]:80", "[::1", "", "deck.lan.", "0.0.0.0"],
)  # fmt: skip
def test_other_hosts_are_refused(ask: Ask, token: str, host: str) -> None:
    answer = ask(token=token, host=host)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_host")
    assert ask("/v1/models", host=host).json()["error"]["code"] == "forbidden_host"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost", "https://chat.example.evil", "http://[", "", "file://"],
)
def test_foreign_origins_are_refused(ask: Ask, token: str, origin: str) -> None:
    answer = ask(token=token, origin=origin)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin")
    assert ask("/v1/models", origin=origin).status_code == 403


def test_the_allowed_origin_and_its_own_are_served(ask: Ask, token: str) -> None:
    answer = ask(token=token, origin="https://chat.example")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert ask(token=token, origin="http://localhost:8100", host="localhost:8100").status_code == 200
    assert ask(token=token, origin="http://localhost:8100", host="LOCALHOST:8100").status_code == 200


def test_a_preflight_of_the_allowed_origin_is_answered_without_a_token(ask: Ask) -> None:
    wanted = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}
    answer = ask("/api/orchestrate/load", method="OPTIONS", origin="https://chat.example", **wanted)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    refused = ask("/api/orchestrate/load", method="OPTIONS", origin="https://evil.example", **wanted)
    assert refused.status_code == 403


def test_options_without_an_origin_needs_the_token(ask: Ask) -> None:
    assert ask(method="OPTIONS", access_control_request_method="GET").status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens_the_control_api(core: ScriptedCore, ask: Ask, scheme: str) -> None:
    assert ask(token=f"{scheme} {core.thread.token}").status_code == 200


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Bearer é", "Basic {}", "{}"])
def test_without_the_token_the_control_api_is_closed(core: ScriptedCore, ask: Ask, given: str | None) -> None:
    sent = None if given is None else given.format(core.thread.token)
    for path in ("/api/models", "/api/status", "/api/nothing/here", "/%61pi/models"):
        answer = ask(path, token=sent)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert core.thread.token not in answer.text


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/version", "/v1/models", "/openapi.json", "/"])
def test_what_clients_need_is_open(ask: Ask, path: str) -> None:
    assert ask(path).status_code == 200


def test_any_bearer_value_is_accepted_from_clients(ask: Ask) -> None:
    assert ask("/v1/models", token="Bearer EMPTY").status_code == 200


def test_the_token_file_is_for_its_owner_only(core: ScriptedCore) -> None:
    file = core.folder / "data" / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text(encoding="ascii") == core.thread.token
    assert len(core.thread.token) >= 32


def test_a_token_lasts_and_gets_its_mode_back(tmp_path: Path) -> None:
    file = tmp_path / "token"
    first = local_token(file)
    file.chmod(0o644)
    assert local_token(file) == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe" * 30])
def test_a_damaged_token_is_made_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    token = local_token(file)
    assert len(token) >= 32
    assert local_token(file) == token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
