"""What a process is, by its name and command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.hardware import programs


@pytest.mark.parametrize(
    ("name", "command", "known_as"),
    [
        ("python3.11", ["/venv/bin/python3", "/venv/bin/vllm", "serve", "qwen"], "vllm"),
        ("python3", ["python3", "-m", "vllm.entrypoints.openai.api_server"], "vllm.entrypoints.openai.api_server"),
        ("python", ["python", "-u", "train.py", "--epochs", "3"], "train"),
        ("python3", ["python3", "-c", "import torch"], "python3"),
        ("python3", ["python3"], "python3"),
        ("VLLM::EngineCore", ["VLLM::EngineCore"], "VLLM::EngineCore"),
        ("ollama", ["/usr/local/bin/ollama", "runner", "--model", "x"], "ollama"),
        ("ollama.exe", [r"C:\Ollama\ollama.exe", "serve"], "ollama"),
        ("Xorg", ["/usr/lib/xorg/Xorg", ":0"], "Xorg"),
        ("kitty", [], "kitty"),
    ],
)
def test_a_program_is_called_what_people_call_it(name: str, command: list[str], known_as: str) -> None:
    assert programs.program(name, command) == known_as


@given(st.text(min_size=1), st.lists(st.text()))
def test_any_process_has_a_name(name: str, command: list[str]) -> None:
    assert programs.program(name, command) or not name.strip()


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["vllm", "serve", "--api-key", "sk-123", "--port", "8000"], "vllm serve --api-key … --port 8000"),
        (["vllm", "--api-key=hidden"], "vllm --api-key=…"),
        (["x", "--hf-token", "--verbose"], "x --hf-token …"),
        (["x", "hf_abcdef"], "x …"),
        (["x", "--max-tokens", "5"], "x --max-tokens …"),
        ([], None),
    ],
)
def test_keys_are_not_shown(command: list[str], shown: str | None) -> None:
    assert programs.command_line(command) == shown


@given(st.text(alphabet="abcdef0123456789", min_size=8), st.sampled_from(["--api-key", "--token", "--hf_token"]))
def test_no_key_is_ever_shown(key: str, option: str) -> None:
    for command in (["x", option, key], ["x", f"{option}={key}"], ["x", f"sk-{key}"]):
        assert key not in (programs.command_line(command) or "")


def test_a_very_long_command_line_is_cut() -> None:
    shown = programs.command_line(["x", "y" * 5000])
    assert shown is not None and len(shown) == programs.MOST_LETTERS and shown.endswith("…")


@pytest.mark.parametrize(
    "title",
    [
        "vllm", "vllm.entrypoints.openai.api_server", "VLLM::EngineCore", "VLLM::Worker_TP0", "ollama", "llama-server",
        "sglang.launch_server", "sglang::scheduler", "ollama-lib", "quarterdeck.backends.embedded_worker",
        "llama_cpp.server",
    ],
)  # fmt: skip
def test_engines(title: str) -> None:
    assert programs.is_engine(title)


@pytest.mark.parametrize("title", ["train", "firefox", "quarterdeck", "Xorg", "vllmify", "python3", "blender", ""])
def test_no_engines(title: str) -> None:
    assert not programs.is_engine(title)


def test_workers_of_engines() -> None:
    assert programs.is_part("VLLM::Worker_TP0", ["VLLM::Worker_TP0"])
    assert programs.is_part("ollama", ["/usr/bin/ollama", "runner", "--model", "x"])
    assert not programs.is_part("ollama", ["ollama", "serve"])
    assert not programs.is_part("vllm", ["python", "vllm", "serve"])


@pytest.mark.parametrize(
    "name", ["Xorg", "gnome-shell", "kwin_wayland", "plasmashell", "Hyprland", "systemd", "dwm.exe"]
)
def test_the_desktop(name: str) -> None:
    assert programs.is_desktop(name)
    assert not programs.is_desktop(f"{name}2")


@pytest.mark.parametrize(
    ("cgroup", "service"),
    [
        ("0::/system.slice/ollama.service", True),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/vllm.service", True),
        ("1:name=systemd:/system.slice/ollama.service\n0::/", True),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.kde.konsole-12.scope", False),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.kde.konsole@ab.service", False),
        ("0::/user.slice/user-1000.slice/session-3.scope", False),
        ("0::/system.slice/docker-0123.scope", False),
        ("", False),
    ],
)
def test_services_are_looked_after(cgroup: str, service: bool) -> None:
    assert programs.is_service(cgroup) is service
