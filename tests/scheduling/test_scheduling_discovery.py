"""A look around: models of running servers and of the disk come into the registry, and nothing is loaded."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from gguf_writer import CHAT_FACTS, gguf_bytes
from recorded_server import RecordedServer, models, recorded, reply, serve

from quarterdeck.backends.owners import Owners
from quarterdeck.compatibility.journal import Journal
from quarterdeck.errors import AppError
from quarterdeck.registry.models import Registry
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.scheduling.discovery import Discovery
from quarterdeck.scheduling.servers import Servers
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel, ScanResult
from quarterdeck.schemas.models import ModelCreate, Phase
from quarterdeck.settings import Folders, Settings
from quarterdeck.storage.database import Database
from quarterdeck.storage.events import EventLog
from quarterdeck.storage.secrets import Secrets

RECORDINGS = Path(__file__).parents[1] / "backends" / "recorded_http"
NOBODY = "http://127.0.0.1:9"


class Teller(FakeBackend):
    """A backend that knows models of its servers."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[FoundModel] = []
        self.broken = False

    async def found_models(self) -> list[FoundModel]:
        if self.broken:
            raise AppError("bad_answer", "It says nothing of use.")
        return self.known


class Bench:
    def __init__(self, folder: Path) -> None:
        self.places = Folders(folder / "data", folder / "data")
        self.folder = folder / "models"
        self.folder.mkdir()
        self.settings = Settings(
            ollama_url=NOBODY, litellm_url=NOBODY, probe_ports=[], scan_caches=False, model_folders=[str(self.folder)]
        )
        self.own_ports: set[int] = set()
        self.backend = Teller()
        self.database = Database(self.places)
        self.database.open()

    async def open(self) -> None:
        self.catalog = Catalog(Registry(self.database), Journal(self.database), EventLog(self.database))
        await self.catalog.open()
        secrets = Secrets(self.places)
        self.servers = Servers(
            self.database, secrets, settings=lambda: self.settings, own_ports=lambda: self.own_ports,
            owners=Owners(path=str(self.places.data)),
        )  # fmt: skip
        await self.servers.open()
        self.discovery = Discovery(
            self.servers, {"embedded": self.backend}, self.catalog, settings=lambda: self.settings
        )

    async def scan(self, *folders: Path) -> ScanResult:
        return await self.discovery.scan(folders)

    def look_at(self, *servers: RecordedServer) -> None:
        self.settings = self.settings.model_copy(update={"probe_ports": [server.port for server in servers]})

    def put(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gguf_bytes(CHAT_FACTS))
        return path

    @property
    def known(self) -> dict[str, str | None]:
        return {view.name: view.url or view.path for view in self.catalog.all()}

    async def close(self) -> None:
        await self.servers.close()
        self.database.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_models_of_servers_and_of_the_disk_are_known_afterwards(bench: Bench) -> None:
    path = bench.put("tiny.gguf")
    async with serve(recorded(RECORDINGS / "vllm.txt")) as vllm, serve(recorded(RECORDINGS / "ollama.txt")) as ollama:
        bench.look_at(vllm, ollama)

        result = await bench.scan()

    urls = set(bench.known.values())
    assert {vllm.url, ollama.url, str(path)} <= urls
    assert len(result.added) == 3
    assert {server.product for server in result.servers} == {"vllm", "ollama"}
    views = {view.url: view for view in bench.catalog.all()}
    assert (views[vllm.url].backend, views[vllm.url].context_length) == ("vllm", 1024)
    assert (views[ollama.url].backend, views[ollama.url].served_name) == ("ollama", "smollm2:latest")


async def test_looking_loads_nothing(bench: Bench) -> None:
    bench.put("tiny.gguf")
    async with serve(recorded(RECORDINGS / "ollama.txt")) as ollama:
        bench.look_at(ollama)
        await bench.scan()

    assert bench.backend.loads == []
    assert not {"/api/generate", "/api/chat", "/v1/chat/completions"} & set(ollama.asked)
    assert all(view.phase is Phase.UNLOADED for view in bench.catalog.all())


async def test_what_a_server_says_of_a_model_is_known_as_soon_as_the_model_is_added(bench: Bench) -> None:
    url = "http://127.0.0.1:11434"
    said = {"mine:latest": ["chat", "vision"], "other:latest": ["chat"]}
    bench.backend.known = [
        FoundModel(name=name, backend=BackendKind.OLLAMA, url=url, source=url, capabilities=words)
        for name, words in said.items()
    ]
    discovery = Discovery(
        bench.servers, {"ollama": bench.backend}, bench.catalog, settings=lambda: bench.settings
    )  # fmt: skip
    new = ModelCreate(model_name="eyes", url=f"{url}/", backend="ollama", served_name="mine")
    view = await discovery.look_up(await bench.catalog.add(new))
    assert (view.name, view.capabilities) == ("eyes", ["chat", "vision"])
    assert [each.name for each in bench.catalog.all()] == ["eyes"]
    bench.backend.broken = True
    unknown = await bench.catalog.add(ModelCreate(model_name="x", url=url, backend="ollama", served_name="y"))
    assert await discovery.look_up(unknown) == unknown


async def test_a_second_look_changes_nothing(bench: Bench) -> None:
    bench.put("tiny.gguf")
    async with serve(recorded(RECORDINGS / "vllm.txt")) as vllm:
        bench.look_at(vllm)
        await bench.scan()
        before = bench.catalog.all()

        again = await bench.scan()

    assert (again.added, again.changed, again.gone) == ([], [], [])
    assert bench.catalog.all() == before


async def test_what_a_server_no_longer_has_goes(bench: Bench) -> None:
    async with serve(recorded(RECORDINGS / "vllm.txt")) as vllm:
        bench.look_at(vllm)
        await bench.scan()
        vllm.replies["/v1/models"] = models("another", owned_by="vllm")

        result = await bench.scan()

    assert (len(result.added), len(result.gone)) == (1, 1)
    assert [view.served_name for view in bench.catalog.all()] == ["another"]


@pytest.mark.parametrize("trouble", ["down", "key", "fails", "loading"])
async def test_a_server_that_cannot_tell_loses_no_models(bench: Bench, trouble: str) -> None:
    async with serve(recorded(RECORDINGS / "vllm.txt")) as vllm:
        bench.look_at(vllm)
        await bench.scan()
        known = bench.known
        status = {"key": 401, "fails": 500, "loading": 503}.get(trouble, 0)
        vllm.replies |= {"/v1/models": reply({"error": "no"}, status), "/metrics": reply("#\nvllm:x 1\n")}
        if trouble != "down":
            result = await bench.scan()
    if trouble == "down":
        result = await bench.scan()

    assert result.gone == []
    assert bench.known == known


async def test_a_deleted_file_goes_and_a_folder_on_a_drive_that_is_away_does_not(bench: Bench) -> None:
    bench.put("one.gguf")
    await bench.scan()
    (bench.folder / "one.gguf").unlink()
    assert len((await bench.scan()).gone) == 1

    bench.put("two.gguf")
    await bench.scan()
    shutil.move(bench.folder, bench.folder.with_name("away"))
    result = await bench.scan()

    assert [each.where for each in result.passed_over] == [str(bench.folder)]


async def test_further_folders_can_be_named(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.gguf").write_bytes(gguf_bytes(CHAT_FACTS))

    result = await bench.scan(tmp_path / "elsewhere")

    assert len(result.added) == 1


async def test_what_a_backend_says_of_its_models_counts_more(bench: Bench) -> None:
    async with serve(recorded(RECORDINGS / "ollama.txt")) as ollama:
        bench.look_at(ollama)
        bench.backend.known = [
            FoundModel(
                name="smollm2:latest", source="ollama", backend=BackendKind.OLLAMA, url=ollama.url, context_length=8192
            )
        ]

        result = await bench.scan()

    assert len(result.added) == 1
    assert bench.catalog.all()[0].context_length == 8192


async def test_the_last_model_of_an_ollama_of_our_own_can_go(bench: Bench) -> None:
    async with serve(recorded(RECORDINGS / "ollama.txt")) as ollama:
        bench.settings = bench.settings.model_copy(update={"ollama_url": ollama.url})
        bench.own_ports = {ollama.port}
        await bench.scan()
        assert len(bench.known) == 1
        ollama.replies["/api/tags"] = reply({"models": []})

        result = await bench.scan()

    assert len(result.gone) == 1
    assert bench.servers.views() == []


async def test_a_backend_that_fails_does_not_spoil_the_look(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.backend.broken = True
    bench.put("tiny.gguf")

    assert len((await bench.scan()).added) == 1
    assert "could not be listed" in caplog.text


async def test_many_looks_at_once_come_one_after_the_other(bench: Bench) -> None:
    bench.put("tiny.gguf")

    results = await asyncio.gather(*(bench.scan() for _ in range(4)))

    assert sorted(len(result.added) for result in results) == [0, 0, 0, 1]
