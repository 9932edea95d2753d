"""`/api/keys` on a running core: made, used by clients, revoked; never seen again once made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_core import ScriptedCore, scripted_core


@pytest.fixture(scope="module")
def keyed_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("keyed")) as core:
        yield core


@pytest.fixture
def core(keyed_core: ScriptedCore) -> Iterator[ScriptedCore]:
    """A core whose keys are all revoked at the end."""
    yield keyed_core
    for key in keyed_core.http.get("/api/keys").json():
        if key["revoked_at"] is None:
            keyed_core.http.delete(f"/api/keys/{key['name']}").raise_for_status()


def _add(core: ScriptedCore, name: str = "laptop", **fields: Any) -> str:
    answer = core.http.post("/api/keys", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["key"])


def _ask(core: ScriptedCore, path: str, key: str | None = None, *, base: str = "") -> httpx.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.get((base or core.public_url) + path, headers=headers, trust_env=False, timeout=20)


def test_a_key_from_its_making_to_its_end(core: ScriptedCore) -> None:
    assert _ask(core, "/v1/models").status_code == 200
    key = _add(core, "laptop", models=["m1"], requests_per_minute=5, expires_at="2099-01-01T00:00:00Z")
    shown = core.http.get("/api/keys").json()[-1]
    assert (shown["name"], shown["models"], shown["requests_per_minute"]) == ("laptop", ["m1"], 5)
    assert key.startswith(shown["begins_with"])
    assert key not in core.http.get("/api/keys").text
    for base in (core.public_url, core.url):
        assert _ask(core, "/v1/models", base=base).status_code == 401
        assert _ask(core, "/v1/models", "EMPTY", base=base).json()["error"]["code"] == "invalid_api_key"
        assert _ask(core, "/v1/models", key, base=base).status_code == 200
    assert core.http.delete("/api/keys/laptop").status_code == 204
    assert [each["revoked_at"] is None for each in core.http.get("/api/keys").json()].count(True) == 0
    assert _ask(core, "/v1/models").status_code == 200


def test_who_may_make_keys(core: ScriptedCore) -> None:
    plain, admin = _add(core, "plain"), _add(core, "admin", admin=True)
    assert _ask(core, "/api/keys", plain).status_code == 403
    assert _ask(core, "/api/keys").status_code == 401
    assert _ask(core, "/api/keys", admin).status_code == 200
    assert _ask(core, "/api/status", admin, base=core.url).status_code == 200


def test_names_may_be_anything_printable(core: ScriptedCore) -> None:
    for name in ("org/laptop", "Zoë’s phone", "a b", "keys"):
        _add(core, name)
        assert core.http.post("/api/keys", json={"name": name}).status_code == 409
        assert core.http.request("DELETE", f"/api/keys/{name}").status_code == 204
        assert core.http.request("DELETE", f"/api/keys/{name}").json()["code"] == "unknown_key"


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "a" * 65}, {"name": "a", "requests_per_minute": 0}, {"name": "a", "concurrency": -1},
     {"name": "a", "profile": "hasty"}, {"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, {"name": "a", "key": "x"},
     {"name": "a\n"}, {"name": "a", "models": "m"}, {"name": "a", "expires_at": "soon"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(core: ScriptedCore, body: dict[str, Any]) -> None:
    answer = core.http.post("/api/keys", json=body)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"bad_request", "bad_key", "unknown_profile"}
    assert not _active(core)


def _active(core: ScriptedCore) -> list[str]:
    return [key["name"] for key in core.http.get("/api/keys").json() if key["revoked_at"] is None]


def test_the_text_of_a_key_is_nowhere(core: ScriptedCore) -> None:
    key = _add(core, "laptop")
    wrong = "qd-" + "w" * 43
    for text in (key, wrong):
        _ask(core, "/v1/models", text)
        _ask(core, "/api/status", text)
        httpx.post(
            core.public_url + "/v1/chat/completions", json={"model": "nobody"}, trust_env=False,
            headers={"x-api-key": text},
        )  # fmt: skip
    pages = ["/api/status", "/api/requests", "/api/settings", "/api/backends/quarterdeck/logs", "/openapi.json"]
    for text in [core.http.get(page).text for page in pages]:
        assert key not in text
        assert wrong not in text
    for file in (core.folder / "data").rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes(), file


def test_beyond_this_machine_once_there_is_a_key(core: ScriptedCore) -> None:
    refused = core.http.patch("/api/settings", json={"host": "0.0.0.0"})
    assert (refused.status_code, refused.json()["code"]) == (400, "not_loopback")
    key = _add(core)
    assert core.http.patch("/api/settings", json={"host": "0.0.0.0"}).status_code == 200
    assert _ask(core, "/v1/models").status_code == 401
    assert _ask(core, "/v1/models", key).status_code == 200
    assert core.http.patch("/api/settings", json={"host": "127.0.0.1"}).status_code == 200
    assert _ask(core, "/v1/models", key).status_code == 200


def test_origins_are_checked_when_they_are_entered(core: ScriptedCore) -> None:
    for values in ({"allowed_origins": ["app://x"]}, {"allowed_origins": ["*", "http://x"]}):
        refused = core.http.patch("/api/settings", json=values)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_setting")
    values = {"allowed_origins": ["app://x"], "cors_custom_schemes": ["app"]}
    assert core.http.patch("/api/settings", json=values).status_code == 200
    headers = {"Origin": "app://x"}
    assert httpx.get(core.public_url + "/health", headers=headers, trust_env=False).status_code == 200
    core.http.patch("/api/settings", json={"allowed_origins": [], "cors_custom_schemes": []}).raise_for_status()
    assert httpx.get(core.public_url + "/health", headers=headers, trust_env=False).status_code == 403


def test_keys_outlive_the_core(tmp_path: Path) -> None:
    with scripted_core(tmp_path) as first:
        key = _add(first, "laptop", tokens_per_minute=1000)
    with sqlite3.connect(tmp_path / "data" / "quarterdeck.db") as stored:
        rows = json.dumps(stored.execute("SELECT * FROM api_key").fetchall())
    stored.close()
    assert key not in rows
    assert key[:6] in rows
    with scripted_core(tmp_path, host="0.0.0.0") as second:
        assert second.http.get("/api/status").json()["issues"] == []
        assert _ask(second, "/v1/models").status_code == 401
        assert _ask(second, "/v1/models", key).status_code == 200


def test_origins_of_the_environment_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with scripted_core(tmp_path, allowed_origins=["app://x", "https://good.example"]) as core:
        issues = core.http.get("/api/status").json()["issues"]
        assert [issue["code"] for issue in issues] == ["bad_origins"]
        assert "app://x" in issues[0]["sentence"]
        for origin, status in (("https://good.example", 200), ("app://x", 403)):
            answer = httpx.get(core.public_url + "/health", headers={"Origin": origin}, trust_env=False)
            assert answer.status_code == status


@pytest.mark.parametrize(("path", "dialect"), [("/v1/models", "openai"), ("/api/tags", "ollama")])
def test_people_see_why_a_client_without_a_key_fails(core: ScriptedCore, path: str, dialect: str) -> None:
    _add(core, "laptop")
    assert _ask(core, path, "sk-wrong").status_code == 401
    seen = core.http.get("/api/requests").json()[0]
    assert (seen["path"], seen["dialect"], seen["status"]) == (path, dialect, 401)
    assert seen["error"] == "This API key is not known."
    assert "sk-wrong" not in core.http.get("/api/requests").text
