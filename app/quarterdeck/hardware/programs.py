"""What a process is, judged by its name and command line: an engine, a part of the desktop, a system service."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

MOST_LETTERS = 600
HIDDEN = "…"

# As the kernel names them, without “.exe” and in lower case.
_DESKTOP_NAMES = """
xorg x xwayland xvnc weston gnome-shell gnome-session gnome-session-binary gnome-session-service mutter kwin kwin_x11
kwin_wayland plasmashell ksmserver plasma_session startplasma-x11 startplasma-wayland sway hyprland river niri labwc
wayfire cosmic-comp cosmic-session gamescope cinnamon cinnamon-session muffin marco mate-session xfwm4 xfce4-session
xfdesktop lxqt-session lxsession budgie-wm openbox i3 awesome picom compiz gala gdm gdm3 gdm-session-worker
gdm-wayland-session gdm-x-session sddm sddm-helper lightdm ly greetd systemd systemd-logind dbus-daemon dbus-broker
dbus-broker-launch xdg-desktop-portal pipewire wireplumber dwm explorer csrss winlogon windowserver loginwindow launchd
"""
DESKTOP = frozenset(_DESKTOP_NAMES.split())
_ENGINE = re.compile(
    r"(vllm|sglang|llama-server|llama-cli|llamafile|llama_cpp|ollama|ollama_llama_server|aphrodite|lmdeploy|koboldcpp|"
    r"mistralrs|mistralrs-server|text-generation-(launcher|server)|localai|local-ai|quarterdeck\.backends)([.:_-]|$)"
)
# Workers that an engine starts for itself; alone they are never meant to run.
_PART = re.compile(r"(vllm|sglang|ray)::")
_PYTHON = re.compile(r"^(python|pypy)[\d.]*$")
_SECRET = re.compile(r"(?i)^--?[\w-]*(key|token|secret|password)[\w-]*$")


def program(name: str, command: Sequence[str]) -> str:
    """The name a person knows a process by: for an interpreter its script or module, else the name of its file."""
    base = _base(name)
    if not _PYTHON.match(base.lower()):
        return base
    arguments = list(command[1:])
    for place, argument in enumerate(arguments):
        if argument == "-m" and place + 1 < len(arguments):
            return arguments[place + 1].removesuffix(".__main__")
        if not argument.startswith("-"):
            return _base(argument).removesuffix(".py")
        if argument == "-c":
            break
    return base


def command_line(command: Sequence[str]) -> str | None:
    """A command line to show: keys and tokens taken out, cut where it is very long; None when it is not known."""
    shown: list[str] = []
    hide = False
    for argument in command:
        option, equals, _ = argument.partition("=")
        if hide:
            shown.append(HIDDEN)
        elif equals and _SECRET.match(option):
            shown.append(f"{option}={HIDDEN}")
        elif argument.startswith(("sk-", "hf_")):
            shown.append(HIDDEN)
        else:
            shown.append(argument)
        hide = not hide and not equals and bool(_SECRET.match(argument))
    text = " ".join(shown).strip()
    return (text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…") or None


def is_desktop(name: str) -> bool:
    """Whether ending a process of this name would end a person's session or a part of it."""
    return _base(name).lower() in DESKTOP


def is_engine(title: str) -> bool:
    """Whether a process, by its `program`, serves language models."""
    return bool(_ENGINE.match(title.lower()) or _PART.match(title.lower()))


def is_part(title: str, command: Sequence[str]) -> bool:
    """Whether a process is a worker that an engine started for itself."""
    return bool(_PART.match(title.lower())) or (title.lower().startswith("ollama") and list(command[1:2]) == ["runner"])


def is_service(cgroup: str) -> bool:
    """Whether the text of /proc/PID/cgroup puts a process under a service manager, which looks after it.

    The manager of a user (`user@1000.service`) and what a desktop starts (`app-…`) is no such service.
    """
    for line in cgroup.splitlines():
        parts = [part for part in line.rpartition(":")[2].split("/") if part.endswith(".service")]
        if parts and not parts[-1].startswith(("user@", "app-")):
            return True
    return False


def _base(path: str) -> str:
    # Some processes put a sentence where the path of their file should be.
    first = path.strip() or path
    return (PureWindowsPath(first) if "\\" in first else PurePosixPath(first)).name.removesuffix(".exe") or first
