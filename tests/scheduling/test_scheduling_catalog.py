"""What the catalog keeps of the registry: names of clients, policies, and what a look around changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.compatibility.journal import Journal
from quarterdeck.errors import AppError
from quarterdeck.registry.models import Registry
from quarterdeck.scheduling import catalog as catalog_module
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.discovery import FoundModel
from quarterdeck.schemas.events import DEFAULT_TOPICS, Event
from quarterdeck.schemas.models import ConfigPatch, ModelCreate, Phase, Status
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database
from quarterdeck.storage.events import EventLog

OLLAMA = "http://127.0.0.1:11434"


class Room:
    """A catalog over a real database, and what it published."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(Folders(folder, folder))
        self.database.open()
        self.events = EventLog(self.database)
        self.catalog = Catalog(Registry(self.database), Journal(self.database), self.events)
        self.heard: list[Event] = []

    async def listen(self) -> None:
        async for event in self.events.subscribe(DEFAULT_TOPICS):
            self.heard.append(event)

    async def told(self) -> list[tuple[str, Any]]:
        """What was published since the last call."""
        await asyncio.sleep(0)
        heard = [(event.type, event.data.get("name")) for event in self.heard]
        self.heard.clear()
        return heard

    async def find(self, *names: str, sources: tuple[str, ...] = (OLLAMA,), **fields: Any) -> None:
        found = [FoundModel(name=name, source="ollama", backend="ollama", url=OLLAMA, **fields) for name in names]  # type: ignore[arg-type]
        await self.catalog.reconcile(found, sources=sources)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    await made.catalog.open()
    listening = asyncio.ensure_future(made.listen())
    await asyncio.sleep(0)
    yield made
    await made.events.flush()
    made.events.close()
    await listening
    made.database.close()


def unknown(room: Room, name: str) -> None:
    for call in (room.catalog.get, room.catalog.resolve):
        with pytest.raises(AppError) as caught:
            call(name)
        assert (caught.value.code, caught.value.status) == ("unknown_model", 404)


async def test_names_that_clients_use(room: Room) -> None:
    await room.find("llama3:latest", "qwen2.5:1", "qwen2:51")
    await room.catalog.patch("qwen2.5:1", ConfigPatch(aliases=["GPT-4o"]))
    for asked, name, rule in (
        ("llama3:latest", "llama3:latest", "exact"),
        ("llama3", "llama3:latest", "alias"),
        ("gpt-4O", "qwen2.5:1", "alias"),
        ("QWEN2:51", "qwen2:51", "alias"),
    ):
        view, found_by = room.catalog.resolve(asked)
        assert (view.name, found_by) == (name, rule)
    unknown(room, "qwen25:1")
    with pytest.raises(AppError):
        room.catalog.get("gpt-4o")
    await room.catalog.patch("qwen2.5:1", ConfigPatch(aliases=[]))
    unknown(room, "gpt-4o")
    await room.catalog.remove("llama3:latest")
    unknown(room, "llama3")


async def test_served_names_are_exact(room: Room) -> None:
    await room.catalog.add(ModelCreate(model_name="a", url="http://127.0.0.1:1", served_name="Qwen/Qwen3"))
    assert room.catalog.get("Qwen/Qwen3").name == "a"
    assert room.catalog.resolve("Qwen/Qwen3")[1] == "exact"


async def test_names_are_known_after_a_restart(room: Room) -> None:
    await room.find("a")
    await room.catalog.patch("a", ConfigPatch(aliases=["b"]))
    await room.catalog.open()
    assert room.catalog.resolve("B")[0].name == "a"


async def test_only_what_a_look_around_changed_is_published(room: Room) -> None:
    await room.find("a", "b")
    assert sorted(await room.told()) == [("changed", "a"), ("changed", "b")]
    await room.find("a", "b")
    assert await room.told() == []
    await room.find("a")
    assert await room.told() == [("removed", "b")]
    unknown(room, "b")
    room.catalog.set_phase("a", Phase.LOADED)
    await room.told()
    await room.find("a")
    assert await room.told() == []
    assert room.catalog.get("a").loaded


async def test_a_loaded_model_that_is_gone_stays_loaded(room: Room) -> None:
    await room.find("a")
    await room.catalog.patch("a", ConfigPatch(compatibility_notes="mine"))
    room.catalog.set_phase("a", Phase.LOADED)
    await room.find()
    view = room.catalog.get("a")
    assert (view.loaded, view.installed) == (True, False)


async def test_very_many_changes_are_told_as_one(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "PUBLISHED_SINGLY", 2)
    await room.find("a", "b", "c")
    assert [kind for kind, _ in await room.told()] == ["reset"]
    assert len(room.catalog.all()) == 3


async def test_reload_publishes_what_others_changed(room: Room) -> None:
    await room.find("a", "b")
    await room.told()
    await room.catalog.registry.set_facts("a", ConfigPatch(pinned=True))
    await room.catalog.registry.remove("b")
    await room.catalog.reload()
    assert sorted(await room.told()) == [("changed", "a"), ("removed", "b")]
    assert room.catalog.get("a").pinned
    await room.catalog.reload()
    assert await room.told() == []


async def test_a_patch_is_taken_as_a_whole_or_not_at_all(room: Room) -> None:
    await room.find("a", "b")
    before = room.catalog.get("a")
    for patch, code in (
        (ConfigPatch(compatibility_status="degraded", aliases=["b"]), "duplicate_model"),
        (ConfigPatch(compatibility_status="testing", pinned=True), "bad_status"),
        (ConfigPatch(load_config="{", pinned=True), "bad_json"),
    ):
        with pytest.raises(AppError) as caught:
            await room.catalog.patch("a", patch)
        assert caught.value.code == code
        await room.catalog.refresh("a")
        assert room.catalog.get("a") == before


async def test_everything_a_person_may_patch(room: Room) -> None:
    await room.find("a")
    patch = ConfigPatch(
        compatibility_status="degraded", compatibility_notes="slow", load_config={"num_ctx": 9}, group="g", pinned=True
    )
    view = await room.catalog.patch("a", patch)
    assert (view.status, view.notes, view.load_config) == (Status.DEGRADED, "slow", '{\n  "num_ctx": 9\n}')
    assert (view.group, view.pinned, view.layer, view.layers["load_config"]) == ("g", True, "curated", "curated")
    await room.find("a", size_bytes=5)
    assert room.catalog.get("a").load_config == '{\n  "num_ctx": 9\n}'
