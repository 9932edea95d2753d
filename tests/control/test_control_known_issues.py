"""Known issues through the control API and the command: search, pages in and out, and entries that go."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from quarterdeck.cli import main
from quarterdeck.client.api import ApiClient
from quarterdeck.client.connection import Connection
from quarterdeck.client.known_issues import known_issues as command
from quarterdeck.control import errors, known_issues
from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.errors import AppError

PAGE = "## `teapot` boils over\n\nIt has no lid.\n\n### `teapot` x `vllm`\n\nIt boils over.\n\n### Fix\n\n- A lid.\n"
BAD = "\n## Bad\n\n- Checked: never\n"
ID = "teapot-boils-over"


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    errors.install(app)
    app.include_router(known_issues.router(KnownIssues(tmp_path / "known-issues.md")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
async def client(http: httpx.AsyncClient) -> AsyncIterator[ApiClient]:
    made = ApiClient("http://127.0.0.1", "token", transport=http._transport)
    yield made
    await made.aclose()


async def test_searching(http: httpx.AsyncClient) -> None:
    everything = (await http.get("/api/known-issues")).json()
    assert len(everything) > 40
    assert set(everything[0]) >= {"id", "title", "subject", "cause", "affected", "workarounds", "still_applies", "own"}
    assert "limits" not in everything[0]
    found = (await http.get("/api/known-issues", params={"q": "workspace flashinfer"})).json()
    assert [each["id"] for each in found] == ["vllm-flashinfer-workspace"]
    assert (await http.get("/api/known-issues", params={"q": "x" * 501})).status_code == 400


async def test_no_page_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/known-issues/import")
    assert answer.status_code == 400
    assert answer.json()["code"] == "no_page"


async def test_a_page_goes_in_and_out(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/known-issues/import", content=(PAGE + BAD).encode())
    assert answer.json() == {
        "added": [ID],
        "replaced": [],
        "problems": ["Line 15: “never” is not a date such as 2026-11-21."],
    }
    again = await http.post("/api/known-issues/import", content=b"\xef\xbb\xbf" + PAGE.encode())
    assert again.json()["replaced"] == [ID]
    own = await http.get("/api/known-issues/export")
    assert own.headers["content-type"] == "text/markdown; charset=utf-8"
    assert own.headers["content-disposition"] == 'attachment; filename="known-issues.md"'
    assert "## `teapot` boils over" in own.text
    assert "Gemma 2" not in own.text
    everything = await http.get("/api/known-issues/export", params={"own": "false"})
    assert "## Gemma 2 has no system prompt" in everything.text


async def test_entries_go(http: httpx.AsyncClient) -> None:
    await http.post("/api/known-issues/import", content=PAGE.encode())
    assert (await http.delete(f"/api/known-issues/{ID}")).status_code == 204
    gone = await http.delete(f"/api/known-issues/{ID}")
    assert (gone.status_code, gone.json()["code"]) == (404, "unknown_issue")
    fixed = await http.delete("/api/known-issues/gemma-2-system-role")
    assert (fixed.status_code, fixed.json()["code"]) == (409, "built_in_issue")


async def test_what_is_no_text_is_refused_with_its_line(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/known-issues/import", content=b"## A\n\n\xff\n")
    assert (answer.status_code, answer.json()["code"], answer.json()["line"]) == (400, "not_utf8", 3)


async def test_a_page_without_end_is_refused(http: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 65536

    answer = await http.post("/api/known-issues/import", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "page_too_long")
    assert sent < 100


class Asked:
    """The command over a client."""

    def __init__(self, client: ApiClient, capsys: pytest.CaptureFixture[str]) -> None:
        self._connection = cast(Connection, SimpleNamespace(client=client))
        self._capsys = capsys

    async def __call__(self, action: str = "list", *words: str, **options: Any) -> tuple[int, str, str]:
        given = {"json": False, "all": False, **options}
        code = await command(self._connection, argparse.Namespace(action=action, words=list(words), **given))
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def asked(client: ApiClient, capsys: pytest.CaptureFixture[str]) -> Asked:
    return Asked(client, capsys)


async def test_the_command_lists_and_shows(asked: Asked) -> None:
    _code, out, _err = await asked("list", "empty", "key")
    id, title = out.splitlines()[0].split(maxsplit=1)
    assert id == "webui-empty-key"
    assert title == "Open WebUI shows no models when the API key is empty (mended in newer versions)"
    _code, out, _err = await asked("list", "nothing", "zeppelin")
    assert out == "No known issue holds these words.\n"
    _code, out, _err = await asked("show", "optillm-webui")
    assert out.startswith("OptiLLM and Open WebUI do not get on\n\nOptiLLM asks")
    assert "optillm × webui\n  With streaming, chats hang" in out
    assert "\n1. Turn streaming off" in out
    _code, out, _err = await asked("show", "optillm-webui", json=True)
    assert json.loads(out)["id"] == "optillm-webui"


async def test_the_command_adds_exports_and_removes(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    file.write_text(PAGE + BAD, encoding="utf-8")
    assert await asked("add", str(file)) == (
        0,
        f"Added {ID}.\n1 could not be read:\n",
        "Line 15: “never” is not a date such as 2026-11-21.\n",
    )
    file.write_text(BAD, encoding="utf-8")
    code, out, _err = await asked("add", str(file), json=True)
    assert (code, json.loads(out)["added"]) == (1, [])
    _code, page, _err = await asked("export")
    assert "It has no lid." in page
    _code, everything, _err = await asked("export", all=True)
    assert "Gemma 2" in everything
    assert (await asked("remove", ID))[1] == f"Removed {ID}.\n"
    assert "It has no lid." not in (await asked("export"))[1]


async def test_a_page_from_standard_input(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(PAGE.encode())))
    assert (await asked("add", "-"))[1] == f"Added {ID}.\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add", "/nowhere/page.md"), "file_missing"),
        (("add",), "name_required"),
        (("show", "a", "b"), "name_required"),
        (("show", "zeppelin"), "unknown_issue"),
        (("remove", "zeppelin"), "unknown_issue"),
    ],
)
async def test_what_the_command_cannot_do(asked: Asked, words: tuple[str, ...], code: str) -> None:
    with pytest.raises(AppError) as refused:
        await asked(*words)
    assert refused.value.code == code


async def test_a_file_that_is_no_text(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(AppError) as refused:
        await asked("add", str(file))
    assert refused.value.code == "not_utf8"


def test_wrong_usage_of_the_command() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["known-issues", "juggle"])
    assert ended.value.code == 2
