"""The rooms import as pyproject.toml says: upwards only, and the window knows the core only through the client."""

from pathlib import Path

from importlinter import cli

ROOT = Path(__file__).resolve().parent.parent


def test_the_rooms_keep_their_import_contracts(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    outcome = cli.lint_imports(config_filename="pyproject.toml", no_logo=True, no_cache=True)

    assert outcome == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out
