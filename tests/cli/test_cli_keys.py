"""The commands `keys` and `snippet`, against a core that they start for themselves."""

from __future__ import annotations

import pytest
from command import Run


def test_a_key_from_its_making_to_its_end(run: Run) -> None:
    assert "quarterdeck keys add" in run("keys").out
    made = run("keys", "add", "laptop", "--model", "m1", "--requests", "5", "--expires", "2099-01-01")
    assert made.code == 0
    key = made.out.strip()
    assert key.startswith("qd-")
    assert "only time" in made.err
    assert "every client needs a key" in made.err
    second = run("keys", "add", "phone", "--admin", "--json")
    assert second.json["view"]["admin"] is True
    assert second.json["key"].startswith("qd-")
    assert "every client" not in second.err
    listed = run("keys", "list")
    for word in ("laptop", "m1", "5 requests/min", "phone", "admin", "never"):
        assert word in listed.out
    assert key not in listed.out
    again = run("keys", "add", "laptop")
    assert (again.code, again.out) == (1, "")
    assert "already a key named “laptop”" in again.err
    assert run("keys", "revoke", "laptop").code == 0
    assert run("keys", "revoke", "laptop").code == 1
    states = {each["name"]: each["revoked_at"] is not None for each in run("keys", "--json").json}
    assert states == {"laptop": True, "phone": False}


@pytest.mark.parametrize("arguments", [("add",), ("revoke",), ("add", "x", "--requests", "0"), ("add", "")])
def test_what_makes_no_sense_is_told(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run("keys", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.strip().splitlines()) == 2


@pytest.mark.parametrize("arguments", [("keys", "lose", "x"), ("keys", "add", "x", "--expires", "soon"), ("snippet",)])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


@pytest.mark.parametrize(("server", "word"), [("nginx", "proxy_pass"), ("apache", "ProxyPass"), ("caddy", "reverse_")])
def test_snippets(run: Run, server: str, word: str) -> None:
    ended = run("snippet", server)
    assert ended.code == 0
    assert word in ended.out
    assert "http://127.0.0.1:8100" in ended.out
