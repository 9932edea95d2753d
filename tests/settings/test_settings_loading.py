"""Where settings come from, which value wins, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.settings import Loaded, Settings, environment_name, folders, load_settings


def load(
    folder: Path, config: str | None = None, overrides: dict[str, Any] | None = None, **environment: str
) -> Loaded:
    if config is not None:
        (folder / "config.toml").write_text(config, encoding="utf-8")
    return load_settings(folder, overrides, environment)


def refused(folder: Path, *arguments: Any, **environment: str) -> AppError:
    with pytest.raises(AppError) as caught:
        load(folder, *arguments, **environment)
    assert caught.value.code == "bad_setting"
    assert caught.value.hint
    return caught.value


def test_defaults_need_no_file(tmp_path: Path) -> None:
    loaded = load(tmp_path / "not there yet")
    assert (loaded.settings.host, loaded.settings.port) == ("127.0.0.1", 8100)
    assert set(loaded.sources.values()) == {"default"}


def test_the_later_layer_wins(tmp_path: Path) -> None:
    config = 'port = 1\nload_timeout = 11\nstop_timeout = 1\ntheme = "dark"\n'
    loaded = load(tmp_path, config, {"port": 3}, QUARTERDECK_PORT="2", QUARTERDECK_LOAD_TIMEOUT="22")
    settings, sources = loaded.settings, loaded.sources
    assert (settings.port, settings.load_timeout, settings.stop_timeout, settings.theme) == (3, 22, 1.0, "dark")
    assert [sources[name] for name in ("port", "load_timeout", "stop_timeout", "host")] == [
        "command line", "environment", "config.toml", "default",
    ]  # fmt: skip


def test_second_names_of_the_environment_are_accepted_after_our_own(tmp_path: Path) -> None:
    assert load(tmp_path, CHAT_PROXY_PORT="8200", CHAT_PROXY_HOST="::1").settings.port == 8200
    assert load(tmp_path, CHAT_PROXY_PORT="8200", QUARTERDECK_PORT="8300").settings.port == 8300


@pytest.mark.parametrize(
    ("text", "origins"),
    [("", []), (" , ", []), ("https://a", ["https://a"]), ("https://a, http://b:1 ", ["https://a", "http://b:1"])],
)
def test_lists_in_the_environment_are_separated_by_commas(tmp_path: Path, text: str, origins: list[str]) -> None:
    assert load(tmp_path, CORS_ALLOW_ORIGIN=text).settings.allowed_origins == origins


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", False),
        ("false", False),
        ("no", False),
        ("OFF", False),
        ("1", True),
        ("yes", True),
        ("True", True),
        ("on", True),
        (" on ", True),
    ],
)
def test_switches_in_the_environment(tmp_path: Path, text: str, value: bool) -> None:
    assert load(tmp_path, QUARTERDECK_NVML=text).settings.nvml is value


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("CHAT_PROXY_HOST", "127.0.0.1", "host", "127.0.0.1"),
        ("CHAT_PROXY_PORT", "8200", "port", 8200),
        ("CHAT_PROXY_LOOPBACK_ALIAS", "host.docker.internal", "loopback_alias", "host.docker.internal"),
        ("CHAT_PROXY_VLLM_SINGLE_PORT", "0", "vllm_single_port", False),
        ("CHAT_PROXY_VLLM_SINGLE_PORT", "1", "vllm_single_port", True),
        ("CHAT_PROXY_VLLM_PORT", "24001", "vllm_port", 24001),
        ("CHAT_PROXY_VLLM_STATE_PATH", "/srv/state.json", "vllm_state_path", "/srv/state.json"),
        ("CHAT_PROXY_INCLUDE_NON_INSTALLED", "1", "include_non_installed", True),
        ("CHAT_PROXY_AUTOSTART_ENABLED", "0", "autostart", False),
        ("CHAT_PROXY_AUTOSTART_MAP", '{"a": {"command": ["b"]}}', "autostart_map", '{"a": {"command": ["b"]}}'),
        ("IMAGEWORKS_OLLAMA_HOST", "http://gpu:11434", "ollama_url", "http://gpu:11434"),
        ("OLLAMA_BASE_URL", "http://gpu:11434", "ollama_url", "http://gpu:11434"),
        ("OLLAMA_HOST", "gpu:11434", "ollama_url", "gpu:11434"),
        ("OLLAMA_BASE_URLS", "http://a;http://b", "ollama_urls", ["http://a", "http://b"]),
        ("OPENAI_API_BASE_URLS", "http://a/v1; http://b/v1", "server_urls", ["http://a/v1", "http://b/v1"]),
        ("OPENAI_API_BASE_URLS", "http://a/v1,http://b/v1", "server_urls", ["http://a/v1", "http://b/v1"]),
        ("OPENAI_API_KEYS", "sk-1;sk-2", "server_keys", ["sk-1", "sk-2"]),
        ("OPENAI_API_KEYS", ";sk-2;", "server_keys", ["", "sk-2", ""]),
        ("OPENAI_API_KEYS", "EMPTY", "server_keys", ["EMPTY"]),
        ("CORS_ALLOW_ORIGIN", "https://a;https://b", "allowed_origins", ["https://a", "https://b"]),
        ("CORS_ALLOW_CUSTOM_SCHEME", "app;tauri", "cors_custom_schemes", ["app", "tauri"]),
        ("CHAT_PROXY_LOG_PATH", "/srv/requests.jsonl", "access_log_path", "/srv/requests.jsonl"),
        ("CHAT_PROXY_MAX_LOG_BYTES", "25000", "access_log_max_bytes", 25000),
        ("CHAT_PROXY_LOG_PROMPTS", "1", "log_prompts", True),
        ("CHAT_PROXY_METRICS_ENABLED", "0", "metrics", False),
        ("CHAT_PROXY_VISION_TRUNCATE_HISTORY", "0", "vision_truncate_history", False),
        ("CHAT_PROXY_VISION_KEEP_SYSTEM", "0", "vision_keep_system", False),
        ("CHAT_PROXY_VISION_KEEP_LAST_N_TURNS", "2", "vision_keep_turns", 2),
        ("CHAT_PROXY_REASONING_TRUNCATE_HISTORY", "1", "reasoning_truncate_history", True),
        ("CHAT_PROXY_REASONING_KEEP_LAST_N_TURNS", "3", "reasoning_keep_turns", 3),
        ("CHAT_PROXY_MAX_IMAGE_BYTES", "9000000", "max_image_bytes", 9_000_000),
        ("CHAT_PROXY_MAX_IMAGE_PIXELS", "896", "max_image_edge", 896),
        ("CHAT_PROXY_AUTO_DOWNSCALE_IMAGES", "0", "downscale_images", False),
        ("CHAT_PROXY_IMAGE_JPEG_QUALITY", "70", "image_quality", 70),
        ("CHAT_PROXY_VISION_DOWNSCALE_BACKENDS", "vllm,ollama", "downscale_backends", ["vllm", "ollama"]),
        ("HSTS", "max-age=60", "header_hsts", "max-age=60"),
        ("XFRAME_OPTIONS", "SAMEORIGIN", "header_frame_options", "SAMEORIGIN"),
        ("CONTENT_SECURITY_POLICY", "default-src 'none'", "header_content_security_policy", "default-src 'none'"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "telemetry_endpoint", "http://127.0.0.1:4318"),
    ],
)
def test_the_names_of_the_runbook(tmp_path: Path, variable: str, text: str, name: str, value: object) -> None:
    loaded = load(tmp_path, **{variable: text})
    assert (getattr(loaded.settings, name), loaded.sources[name]) == (value, "environment")


@pytest.mark.parametrize(
    ("variable", "text", "name"),
    [
        ("CHAT_PROXY_PORT", "many", "port"),
        ("CHAT_PROXY_VLLM_PORT", "24001.5", "vllm_port"),
        ("CHAT_PROXY_VLLM_SINGLE_PORT", "perhaps", "vllm_single_port"),
        ("CHAT_PROXY_AUTOSTART_ENABLED", "2", "autostart"),
    ],
)
def test_a_bad_value_under_a_second_name_is_named(tmp_path: Path, variable: str, text: str, name: str) -> None:
    error = refused(tmp_path, **{variable: text})
    assert f"“{name}” from environment" in error.sentence
    assert repr(text) in error.hint


@pytest.mark.parametrize("config", ['server_keys = "sk-secret"', 'server_keys = [1, "sk-secret"]'])
def test_a_secret_is_not_repeated_in_an_error(tmp_path: Path, config: str) -> None:
    error = refused(tmp_path, config)
    assert "server_keys" in error.sentence
    assert "secret" not in error.sentence + error.hint


@given(st.lists(st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=8), min_size=2, max_size=6))
def test_keys_between_semicolons_keep_their_places(keys: list[str]) -> None:
    settings = load_settings(Path("/nowhere"), None, {"OPENAI_API_KEYS": ";".join(keys)}).settings
    assert settings.server_keys == keys


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "99999"), ("PORT", "-1"), ("PORT", "http"), ("PORT", ""), ("LOAD_TIMEOUT", "1"), ("STOP_TIMEOUT", "0"),
     ("STOP_TIMEOUT", "nan"), ("NVML", "perhaps"), ("THEME", "purple"), ("LOG_LEVEL", "loud"), ("CLOSE_ACTION", "")],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_source(tmp_path: Path, name: str, value: str) -> None:
    error = refused(tmp_path, **{f"QUARTERDECK_{name}": value})
    assert f"“{name.lower()}” from environment" in error.sentence
    assert repr(value) in error.hint


@pytest.mark.parametrize("config", ["port = 99999", 'port = "many"', "theme = 3", "allowed_hosts = 5"])
def test_a_bad_value_of_the_file_is_named(tmp_path: Path, config: str) -> None:
    assert f"“{config.partition(' ')[0]}” from config.toml" in refused(tmp_path, config).sentence


def test_an_unknown_setting_of_the_file_is_named(tmp_path: Path) -> None:
    assert "no setting named “prot”" in refused(tmp_path, "prot = 8100").sentence


@pytest.mark.parametrize("data", [b"port = ", b"port = 1\nport = 2", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(data)
    assert str(tmp_path / "config.toml") in refused(tmp_path).sentence


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    assert "cannot be read" in refused(tmp_path).sentence


def test_the_environment_of_others_is_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, PORT="1", HOST="x", QUARTERDECK_NO_SUCH="1").settings == Settings()


def test_one_folder_holds_everything_when_it_was_moved(tmp_path: Path) -> None:
    places = folders(None, {"QUARTERDECK_DATA_DIR": str(tmp_path)})
    assert places.data == places.config == tmp_path
    assert folders(tmp_path / "other", {"QUARTERDECK_DATA_DIR": str(tmp_path)}).data == tmp_path / "other"
    assert folders(Path("~/x"), {}).data == Path.home() / "x"
    assert folders(Path("relative"), {}).data.is_absolute()
    assert folders(None, {}).data.name == "quarterdeck"


@given(st.integers(0, 65535), st.floats(0.25, 60, allow_nan=False))
def test_what_the_environment_says_is_what_holds(port: int, interval: float) -> None:
    environment = {"QUARTERDECK_PORT": str(port), "QUARTERDECK_SAMPLE_INTERVAL": repr(interval)}
    settings = load_settings(Path("/nowhere"), None, environment).settings
    assert (settings.port, settings.sample_interval) == (port, interval)


def test_every_setting_can_be_explained() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description
        assert isinstance(field.json_schema_extra, dict)
        assert field.json_schema_extra["label"]
        assert environment_name(name) == f"QUARTERDECK_{name.upper()}"
