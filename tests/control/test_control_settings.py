"""`/api/settings`: sources, saving, and a port that changes while everything runs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from event_reader import listen
from fake_ollama import fake_ollama
from recorded_server import models, serve
from scripted_core import ScriptedCore, scripted_core, wait_for

CONFIG = """# my settings
load_timeout = 300  # big models
# the window
theme = "dark"
"""


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedCore]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "config.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("QUARTERDECK_LOG_LEVEL", "warning")
    monkeypatch.setenv("CHAT_PROXY_HOST", "127.0.0.1")
    with scripted_core(tmp_path, port=None) as running:
        yield running


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port comes from config.toml in these tests, so that it can be changed."""
    import scripted_core as module

    original = module.load_settings

    def load(data_dir: Path, overrides: dict[str, Any]) -> Any:
        if "ollama_url" in overrides and overrides["ollama_url"] is None:
            del overrides["ollama_url"]
        if "port" in overrides and overrides["port"] is None:
            del overrides["port"]
            data_dir.mkdir(parents=True, exist_ok=True)
            file = data_dir / "config.toml"
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            file.write_text(f"port = 0\n{text}", encoding="utf-8")
        return original(data_dir, overrides)

    monkeypatch.setattr(module, "load_settings", load)


def config_text(core: ScriptedCore) -> str:
    return (core.folder / "data" / "config.toml").read_text(encoding="utf-8")


def setting(core: ScriptedCore, name: str) -> dict[str, Any]:
    return next(dict(each) for each in core.http.get("/api/settings").json() if each["name"] == name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_every_setting_tells_its_source(core: ScriptedCore) -> None:
    theme, level, host = setting(core, "theme"), setting(core, "log_level"), setting(core, "host")
    assert (theme["value"], theme["default"], theme["source"]) == ("dark", "system", "config.toml")
    assert theme["choices"] == ["system", "light", "dark"]
    assert (level["source"], level["environment"], level["restart"]) == ("environment", "QUARTERDECK_LOG_LEVEL", True)
    assert (host["source"], host["environment"]) == ("environment", "CHAT_PROXY_HOST")
    assert setting(core, "nvml")["source"] == "command line"
    stop = setting(core, "stop_timeout")
    assert (stop["source"], stop["environment"]) == ("default", "QUARTERDECK_STOP_TIMEOUT")
    assert (setting(core, "port")["minimum"], setting(core, "port")["maximum"]) == (0, 65535)


def test_a_change_is_saved_among_the_comments(core: ScriptedCore) -> None:
    answer = core.http.patch("/api/settings", json={"theme": "light", "keep_alive_delay": 5})
    assert answer.status_code == 200
    assert "# my settings" in config_text(core)
    assert "load_timeout = 300  # big models" in config_text(core)
    assert 'theme = "light"' in config_text(core)
    assert "keep_alive_delay = 5.0" in config_text(core)
    changed = setting(core, "keep_alive_delay")
    assert (changed["value"], changed["source"]) == (5.0, "config.toml")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"theme": "light", "port": 99999}, "bad_setting"),
        ({"theme": "light", "load_timeout": "soon"}, "bad_setting"),
        ({"theme": "light", "load_timeout": None}, "bad_setting"),
        ({"theme": "purple"}, "bad_setting"),
        ({"theme": "light", "no_such": 1}, "bad_setting"),
        ({"theme": "light", "log_level": "debug"}, "setting_fixed"),
        ({"theme": "light", "host": "0.0.0.0"}, "setting_fixed"),
        ({"theme": "light", "nvml": True}, "setting_fixed"),
    ],
)
def test_a_bad_value_loses_nothing(core: ScriptedCore, values: dict[str, Any], code: str) -> None:
    before = config_text(core)
    answer = core.http.patch("/api/settings", json=values)
    assert answer.status_code in (400, 409)
    assert answer.json()["code"] == code
    assert any(name in answer.json()["detail"] for name in values)
    assert config_text(core) == before
    assert setting(core, "theme")["value"] == "dark"


@pytest.mark.parametrize("through", ["private", "public"])
def test_another_port_holds_at_once_and_frees_the_old_one(core: ScriptedCore, through: str) -> None:
    old_url, new_port = core.public_url, free_port()
    old_port = int(old_url.rpartition(":")[2])
    base = core.url if through == "private" else old_url
    answer = httpx.patch(
        base + "/api/settings", json={"port": new_port}, headers=core.http.headers, trust_env=False, timeout=20
    )
    assert answer.status_code == 200
    assert core.public_url == f"http://127.0.0.1:{new_port}"
    assert httpx.get(core.public_url + "/health", trust_env=False).status_code == 200
    wait_for(lambda: port_is_free(old_port))
    assert core.http.get("/api/status").json()["public_url"] == core.public_url
    assert f"port = {new_port}" in config_text(core)
    assert str(new_port) in (core.folder / "data" / "core.json").read_text(encoding="utf-8")


def test_a_port_that_is_taken_changes_nothing(core: ScriptedCore) -> None:
    before, url = config_text(core), core.public_url
    with socket.create_server(("127.0.0.1", 0)) as other:
        answer = core.http.patch("/api/settings", json={"port": other.getsockname()[1], "theme": "light"})
    assert (answer.status_code, answer.json()["code"]) == (409, "port_in_use")
    assert config_text(core) == before
    assert core.public_url == url
    assert httpx.get(url + "/health", trust_env=False).status_code == 200
    assert setting(core, "theme")["value"] == "dark"


def test_a_file_that_cannot_be_written_changes_nothing(core: ScriptedCore) -> None:
    (core.folder / "data" / "config.new").mkdir()
    url = core.public_url
    answer = core.http.patch("/api/settings", json={"port": free_port()})
    assert (answer.status_code, answer.json()["code"]) == (507, "setting_not_saved")
    assert core.public_url == url
    assert setting(core, "port")["value"] == 0


def test_changes_at_the_same_time_all_hold(core: ScriptedCore) -> None:
    changes = [{"theme": "light"}, {"load_timeout": 77}, {"keep_alive_delay": 9}, {"stop_timeout": 4}]
    threads = [
        threading.Thread(target=lambda body=body: core.http.patch("/api/settings", json=body)) for body in changes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for body in changes:
        for name, value in body.items():
            assert setting(core, name)["value"] == value
            assert name in config_text(core)


def test_a_busy_port_at_the_start_is_an_issue_and_can_be_mended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "config.toml").write_text(f"port = {taken}\n", encoding="utf-8")
        import scripted_core as module

        with module.scripted_core(tmp_path, port=taken) as running:
            assert running.core.public_url is None
            status = running.http.get("/api/status").json()
            [issue] = status["issues"]
            assert (issue["code"], issue["severity"]) == ("port_in_use", "error")
            assert str(taken) in issue["sentence"]
            assert "process" in issue["sentence"]
            assert status["public_url"] is None
            assert running.http.get("/v1/models").status_code == 200


def test_a_busy_port_of_the_file_is_mended_by_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (tmp_path / "data").mkdir()
        with scripted_core(tmp_path, port=None) as running:
            assert running.http.patch("/api/settings", json={"port": taken}).status_code == 409
            assert running.http.patch("/api/settings", json={"port": free_port()}).status_code == 200
            assert running.http.get("/api/status").json()["issues"] == []


def test_another_address_of_this_machine_is_served(tmp_path: Path) -> None:
    with scripted_core(tmp_path, host="::1") as running:
        assert running.public_url.startswith("http://[::1]:")
        assert httpx.get(running.public_url + "/health", trust_env=False).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org", ""])
def test_addresses_beyond_this_machine_are_refused(tmp_path: Path, host: str) -> None:
    with scripted_core(tmp_path, host=host) as running:
        assert [issue["code"] for issue in running.http.get("/api/status").json()["issues"]] == ["not_loopback"]
        assert running.http.get("/health").status_code == 200


KEYS = ["sk-first-secret", "", "sk-third-secret"]


def keys_in_file(core: ScriptedCore) -> list[str]:
    return list(tomllib.loads(config_text(core)).get("server_keys", []))


def test_keys_are_kept_but_never_shown(core: ScriptedCore) -> None:
    with listen(core, topics="setting,log") as events:
        answer = core.http.patch("/api/settings", json={"server_keys": KEYS})
        event = events.until("setting", name="server_keys")
    shown = setting(core, "server_keys")["value"]
    assert [bool(each) for each in shown] == [True, False, True]
    assert len(set(shown)) == 3
    assert event["data"]["value"] == shown
    own_log = core.http.get("/api/backends/quarterdeck/logs").text
    for text in (answer.text, core.http.get("/api/settings").text, json.dumps(event), own_log):
        assert "secret" not in text.replace('"secret"', "")
    assert keys_in_file(core) == KEYS
    assert (core.folder / "data" / "config.toml").stat().st_mode & 0o077 == 0


def test_a_key_that_comes_back_as_it_was_shown_stays(core: ScriptedCore) -> None:
    core.http.patch("/api/settings", json={"server_keys": KEYS}).raise_for_status()
    shown = setting(core, "server_keys")["value"]
    core.http.patch("/api/settings", json={"server_keys": shown, "theme": "light"}).raise_for_status()
    assert keys_in_file(core) == KEYS
    core.http.patch("/api/settings", json={"server_keys": [shown[2], "sk-new"]}).raise_for_status()
    assert keys_in_file(core) == [KEYS[2], "sk-new"]
    before = config_text(core)
    refused = core.http.patch("/api/settings", json={"server_keys": [shown[2]]})
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_setting")
    assert config_text(core) == before
    core.http.patch("/api/settings", json={"server_keys": []}).raise_for_status()
    assert (keys_in_file(core), setting(core, "server_keys")["value"]) == ([], [])


@pytest.mark.parametrize("value", ["sk-not-a-list-secret", [7, "sk-list-secret"], {"sk-object-secret": 1}])
def test_a_bad_key_is_not_repeated(core: ScriptedCore, value: object) -> None:
    answer = core.http.patch("/api/settings", json={"server_keys": value})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_setting")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("phi-4:phi.service", "is not supported"),
        ('{"phi-4": "vllm serve"}', "“phi-4”"),
        ('{"phi-4": {"command": []}}', "“phi-4”"),
    ],
)
def test_start_commands_are_checked_when_they_are_entered(core: ScriptedCore, text: str, words: str) -> None:
    before = config_text(core)
    answer = core.http.patch("/api/settings", json={"autostart_map": text})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_setting")
    assert words in answer.json()["detail"]
    assert answer.json()["hint"]
    assert config_text(core) == before


@pytest.mark.parametrize(
    "values",
    [
        {"server_urls": ["http://127.0.0.1:9/v1", "no address"]},
        {"ollama_urls": ["ftp://127.0.0.1"]},
        {"server_urls": ["http://host:port"]},
    ],
)
def test_addresses_are_checked_when_they_are_entered(core: ScriptedCore, values: dict[str, Any]) -> None:
    before = config_text(core)
    answer = core.http.patch("/api/settings", json=values)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_address")
    assert config_text(core) == before


def test_start_commands_of_the_environment_are_checked_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_PROXY_AUTOSTART_MAP", "phi-4:phi.service")
    with scripted_core(tmp_path) as running:
        [issue] = running.http.get("/api/status").json()["issues"]
        assert "is not supported" in issue["sentence"]
        assert issue["hint"]


def test_mended_start_commands_end_the_issue(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "config.toml").write_text("autostart_map = 'x'\n", encoding="utf-8")
    with scripted_core(tmp_path) as running:
        assert running.http.get("/api/status").json()["issues"]
        good = json.dumps({"phi-4": {"command": ["sleep", "9"]}})
        running.http.patch("/api/settings", json={"autostart_map": good}).raise_for_status()
        assert running.http.get("/api/status").json()["issues"] == []


async def test_servers_of_the_runbook_are_asked_with_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {"/v1/models": models("phi-4")}
    async with serve(listed) as one, serve(listed) as two, fake_ollama() as ollama, fake_ollama() as further:
        monkeypatch.setenv("OPENAI_API_BASE_URLS", f"{one.url}/v1;{two.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEYS", ";sk-two-secret")
        monkeypatch.setenv("OLLAMA_BASE_URLS", further.url)
        monkeypatch.setenv("IMAGEWORKS_OLLAMA_HOST", ollama.url)

        def look() -> tuple[list[dict[str, Any]], str]:
            with scripted_core(tmp_path, every_engine=True, ollama_url=None) as running:
                running.http.post("/api/scan").raise_for_status()
                shown = running.http.get("/api/settings").text
                return list(running.http.get("/api/backends").json()), shown

        backends, shown = await asyncio.to_thread(look)
    known = {each["address"]: each for each in backends}
    for url in (one.url, two.url, ollama.url, further.url):
        assert known[url]["state"] == "running"
    assert known[ollama.url]["name"] == "ollama"
    assert set(one.keys) == {None}
    assert "Bearer sk-two-secret" in two.keys
    assert "sk-two-secret" not in shown
