"""Menu entry, icons and autostart file of this user."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.gui.desktop import entry

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files of Linux desktops")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("APPIMAGE", raising=False)
    return tmp_path


def _values(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path, encoding="utf-8")
    return dict(parser["Desktop Entry"])


def test_install_writes_entry_and_icons(home: Path) -> None:
    assert not entry.installed()
    written = entry.install()
    assert home / "data/applications/quarterdeck.desktop" in written
    assert home / "data/icons/hicolor/256x256/apps/quarterdeck.png" in written
    assert home / "data/icons/hicolor/scalable/apps/quarterdeck.svg" in written
    assert all(path.is_file() for path in written)
    assert entry.installed()
    assert not entry.autostart_enabled()
    values = _values(written[0])
    assert values["Icon"] == "quarterdeck"
    assert values["StartupWMClass"] == "Quarterdeck"
    assert Path(values["TryExec"]).is_absolute()


def test_install_can_be_repeated(home: Path) -> None:
    first = entry.install(autostart=True)
    assert entry.install(autostart=True) == first
    assert not list(home.rglob(".*"))


@pytest.mark.skipif(shutil.which("desktop-file-validate") is None, reason="desktop-file-validate is not installed")
def test_the_files_are_valid(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "command", lambda: ['/opt/My $apps/50% `new`/quarter"deck\\bin'])
    for path in (entry.install(autostart=True)[0], entry.autostart_file()):
        result = subprocess.run(["desktop-file-validate", path], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, "")


def test_autostart_is_minimised_and_shows_its_real_state(home: Path) -> None:
    path = entry.set_autostart(True)
    assert _values(path)["Exec"].endswith(" --minimized")
    assert entry.autostart_enabled()
    path.write_text(path.read_text(encoding="utf-8") + "Hidden=true\n", encoding="utf-8")
    assert not entry.autostart_enabled()
    entry.set_autostart(False)
    assert not path.exists()


def test_remove_takes_everything_away(home: Path) -> None:
    written = entry.install(autostart=True)
    assert sorted(entry.remove()) == sorted(written)
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert entry.remove() == []


def test_a_foreign_entry_of_the_same_name_is_not_ours(home: Path) -> None:
    path = entry.install()[0]
    path.write_text("[Desktop Entry]\nExec=/elsewhere/quarterdeck-desktop\n", encoding="utf-8")
    assert not entry.installed()


def test_a_folder_that_cannot_be_made_is_said(home: Path) -> None:
    (home / "data").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(AppError) as failed:
        entry.install()
    assert failed.value.code == "desktop_entry_failed"
    assert str(home / "data") in failed.value.sentence
    assert failed.value.hint


def test_relative_folders_are_ignored_as_the_specification_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert entry.autostart_file() == home / ".config/autostart/quarterdeck.desktop"


def _unquote(word: str) -> str:
    """What a desktop makes of one Exec argument: string escapes, then quoting, then field codes."""
    text = word.replace("\\\\", "\\")
    if text.startswith('"'):
        inner, plain, index = text[1:-1], "", 0
        while index < len(inner):
            if inner[index] == "\\":
                index += 1
            plain += inner[index]
            index += 1
        text = plain.replace("%%", "%")
    return text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1))
def test_quoting_survives_a_desktop(argument: str) -> None:
    assert _unquote(entry.quote(argument)) == argument
