"""The typed client's calls that look around, import, and speak of servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf_writer import CHAT_FACTS, gguf_bytes
from recorded_server import models, serve
from scripted_core import ScriptedCore, scripted_core

from quarterdeck.client.api import ApiClient
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendKind, ServerCreate
from quarterdeck.schemas.discovery import ImportAction, ImportRequest
from quarterdeck.schemas.estimate import EstimateRequest, Verdict
from quarterdeck.schemas.models import ConfigPatch


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core")) as running:
        yield running


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[ApiClient]:
    made = ApiClient(core.url, core.thread.token)
    yield made
    await made.aclose()


async def refused(work: Any) -> AppError:
    with pytest.raises(AppError) as caught:
        await work
    return caught.value


async def test_an_estimate(core: ScriptedCore, client: ApiClient) -> None:
    name = core.add()
    found = await client.estimate(EstimateRequest(model_name=name, n_ctx=512))
    assert (found.model, found.n_ctx, found.verdict) == (name, 512, Verdict.UNKNOWN)
    assert sum(part.bytes for part in found.parts) == found.total_bytes
    error = await refused(client.estimate(EstimateRequest(path="/nowhere/x.gguf")))
    assert error.code == "file_missing"


async def test_an_import_and_its_file(client: ApiClient, tmp_path: Path) -> None:
    file = tmp_path / "50% of it.json"
    entry = {"model_name": "imported", "litellm_params": {"model": "openai/x", "api_base": "http://127.0.0.1:9/v1"}}
    file.write_text(json.dumps({"model_list": [entry]}), encoding="utf-8")
    preview = await client.import_models(ImportRequest(path=str(file)))
    assert [each.action for each in preview.entries] == [ImportAction.ADD]
    assert await client.follows() == []
    await client.import_models(ImportRequest(path=str(file), apply=True, follow=True))
    [followed] = await client.follows()
    assert (followed.path, followed.models) == (str(file), ["imported"])
    await client.unfollow(str(file))
    assert await client.follows() == []
    assert (await refused(client.unfollow(str(file)))).code == "not_followed"
    error = await refused(client.import_models(ImportRequest(text="{")))
    assert (error.code, error.details["line"]) == ("bad_import", 1)


async def test_a_scan_and_what_is_absent(client: ApiClient, tmp_path: Path) -> None:
    (tmp_path / "seen.gguf").write_bytes(gguf_bytes(facts=CHAT_FACTS))
    assert (await client.scan([str(tmp_path)])).added == ["seen"]
    await client.patch_config("seen", ConfigPatch(deprecated=True))
    [absence] = [each for each in await client.absences() if each.name == "seen"]
    assert not absence.listed
    back = await client.patch_config("seen", ConfigPatch(deprecated=None))
    assert (back.deprecated, back.hidden) == (False, None)


async def test_locking(core: ScriptedCore, client: ApiClient) -> None:
    name = core.add("to be/locked")
    assert (await client.lock(name)).locked
    verified = await client.verify(name)
    assert verified.expected_hash
    assert verified.path
    Path(verified.path).write_bytes(b"another")
    error = await refused(client.verify(name))
    assert (error.code, error.status) == ("version_lock_violation", 409)
    assert (await client.unlock(name)).expected_hash is None


async def test_servers(client: ApiClient) -> None:
    assert {preset.kind for preset in await client.presets()} >= {BackendKind.OPENAI_COMPATIBLE}
    async with serve({"/v1/models": models("phi-4")}) as server:
        added = await client.add_server(ServerCreate(url=server.url, name="in the attic", api_key="sk-x"))
        assert (added.name, added.models) == ("in the attic", ["phi-4"])
        assert "in the attic" in [view.name for view in await client.backends()]
        await client.remove_server("in the attic")
    assert "in the attic" not in [view.name for view in await client.backends()]
    assert (await refused(client.backend_action("embedded", "reload"))).code == "cannot_reload"


async def test_a_process_that_is_gone(client: ApiClient) -> None:
    error = await refused(client.stop_gpu_process(4_000_000, 1.0))
    assert (error.code, error.status) == ("process_gone", 404)
