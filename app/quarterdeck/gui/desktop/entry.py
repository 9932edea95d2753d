"""The entry in the application menu, its icons and the autostart file, for this user. No Qt in here."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from quarterdeck.errors import AppError

APP_ID = "quarterdeck"
COMMAND = "quarterdeck-desktop"
PNG_SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)
ASSETS = Path(__file__).parents[1] / "assets"

_AUTOSTART = """X-GNOME-Autostart-enabled=true
X-GNOME-Autostart-Delay=2
X-KDE-autostart-after=panel
"""
_RESERVED = re.compile(r"[\s\"'\\><~|&;$*?#()`%]")


def install(*, autostart: bool = False) -> list[Path]:
    """Write the menu entry and its icons, and with `autostart` the file that starts Quarterdeck at login.

    Returns the paths that were written; raises AppError `desktop_entry_failed` or `no_desktop_entries`.
    """
    _require_desktop_files()
    written = [_write(_entry_file(), _entry([]).encode())]
    written += [_write(target, source.read_bytes()) for target, source in _icon_files()]
    if autostart:
        written.append(set_autostart(True))
    return written


def remove() -> list[Path]:
    """Remove everything `install` may have written; returns what was there."""
    _require_desktop_files()
    candidates = [_entry_file(), *(target for target, _ in _icon_files()), autostart_file()]
    return [path for path in candidates if _unlink(path)]


def installed() -> bool:
    """Whether the menu has an entry that starts this very installation."""
    try:
        return _entry_file().read_text(encoding="utf-8") == _entry([])
    except (OSError, UnicodeDecodeError):
        return False


def set_autostart(wanted: bool) -> Path:
    """Write or remove the autostart file; returns its path."""
    _require_desktop_files()
    path = autostart_file()
    if wanted:
        return _write(path, (_entry(["--minimized"]) + _AUTOSTART).encode())
    _unlink(path)
    return path


def autostart_enabled() -> bool:
    """The state of the file itself, which the desktop's own settings may have changed."""
    try:
        text = autostart_file().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return "Hidden=true" not in text and "X-GNOME-Autostart-enabled=false" not in text


def autostart_file() -> Path:
    return _home("XDG_CONFIG_HOME", ".config") / "autostart" / f"{APP_ID}.desktop"


def command() -> list[str]:
    """How to start the window of this installation: absolute path and arguments."""
    if image := os.environ.get("APPIMAGE"):
        return [image]
    beside = Path(sys.executable).parent / COMMAND
    if beside.exists():
        return [str(beside)]
    if found := shutil.which(COMMAND):
        return [str(Path(found).absolute())]
    return [sys.executable, "-m", "quarterdeck"]


def quote(argument: str) -> str:
    """One argument by the quoting rules of Exec keys, inside the escaping rules of strings."""
    if not argument or _RESERVED.search(argument):
        inner = re.sub(r'(["`$\\])', r"\\\1", argument).replace("%", "%%")
        return f'"{inner}"'.replace("\\", "\\\\")
    return argument


def _entry(arguments: list[str]) -> str:
    template = (ASSETS / f"{APP_ID}.desktop").read_text(encoding="utf-8")
    program, *rest = command()
    line = " ".join(quote(part) for part in (program, *rest, *arguments))
    return template.replace("@EXEC@", line).replace("@TRYEXEC@", program.replace("\\", "\\\\"))


def _entry_file() -> Path:
    return _home("XDG_DATA_HOME", ".local/share") / "applications" / f"{APP_ID}.desktop"


def _icon_files() -> list[tuple[Path, Path]]:
    root = _home("XDG_DATA_HOME", ".local/share") / "icons" / "hicolor"
    pairs = [
        (root / f"{size}x{size}" / "apps" / f"{APP_ID}.png", ASSETS / f"{APP_ID}-{size}.png") for size in PNG_SIZES
    ]
    return [*pairs, (root / "scalable" / "apps" / f"{APP_ID}.svg", ASSETS / f"{APP_ID}.svg")]


def _home(variable: str, default: str) -> Path:
    # The specification says that a relative path in these variables is to be ignored.
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


def _require_desktop_files() -> None:
    if not sys.platform.startswith("linux"):
        raise AppError(
            "no_desktop_entries",
            "Menu entries of this kind exist on Linux desktops only.",
            f"Make a shortcut to {command()[0]} with the means of your system.",
        )


def _write(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise _failed(path, "written", error) from error
    return path


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(path, "removed", error) from error
    return True


def _failed(path: Path, verb: str, error: OSError) -> AppError:
    return AppError(
        "desktop_entry_failed",
        f"{path} cannot be {verb}: {error.strerror}.",
        "Check who owns the folder and its permissions, then try again.",
    )
