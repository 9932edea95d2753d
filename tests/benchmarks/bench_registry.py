"""How a registry of many models behaves: start, look around, search. Run: `python tests/benchmarks/bench_registry.py`.

The number of models can be given as an argument; times are milliseconds.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from gguf_writer import CHAT_FACTS, gguf_bytes

from quarterdeck.compatibility.journal import Journal
from quarterdeck.registry.models import Registry
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database
from quarterdeck.storage.events import EventLog

MODELS = 5000
FILES = 1000
URL = "http://127.0.0.1:11434"


async def timed(title: str, call: Callable[[], Awaitable[object]]) -> None:
    begin = time.perf_counter()
    await call()
    sys.stdout.write(f"{title:55} {(time.perf_counter() - begin) * 1000:9.1f} ms\n")


def repeated(title: str, call: Callable[[], object], rounds: int = 2000) -> None:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e6)
    sys.stdout.write(f"{title:55} {statistics.median(times):9.1f} µs (median)\n")


def found(number: int) -> FoundModel:
    return FoundModel(
        name=f"family{number % 40}/model-{number}:q4_k_m",
        source="ollama",
        backend=BackendKind.OLLAMA,
        url=URL,
        format="gguf",
        size_bytes=4_000_000_000 + number,
        architecture="llama",
        parameter_count=8_000_000_000,
        quantization="Q4_K_M",
        context_length=131_072,
        capabilities=["chat", "tools"],
        digest=f"{number:064x}",
    )


async def main(count: int, folder: Path) -> None:
    places = Folders(folder, folder)
    database = Database(places)
    await asyncio.to_thread(database.open)
    registry = Registry(database)
    everything = [found(number) for number in range(count)]
    sys.stdout.write(f"{count} models\n")
    await timed("take in what was found, all new", lambda: registry.reconcile(everything, sources=[URL]))
    await timed("again, nothing changed", lambda: registry.reconcile(everything, sources=[URL]))
    everything[7] = everything[7].model_copy(update={"digest": "0"})
    await timed("again, one model changed", lambda: registry.reconcile(everything, sources=[URL]))
    changed = [each.model_copy(update={"size_bytes": 1}) for each in everything]
    await timed("again, all changed", lambda: registry.reconcile(changed, sources=[URL]))
    database.close()

    begin = time.perf_counter()
    database = Database(places)
    await asyncio.to_thread(database.open)
    registry = Registry(database)
    catalog = Catalog(registry, Journal(database), EventLog(database))
    await catalog.open()
    sys.stdout.write(f"{'start: open the database and list all':55} {(time.perf_counter() - begin) * 1000:9.1f} ms\n")
    await timed("list from the database", registry.list)
    await timed("reload, nothing changed", catalog.reload)
    repeated("list from memory", catalog.all, 50)
    repeated("by exact name", lambda: catalog.resolve(f"family7/model-{count - 33}:q4_k_m"))
    repeated("by a name in capitals", lambda: catalog.resolve(f"FAMILY7/MODEL-{count - 33}:Q4_K_M"))
    repeated(
        "search by part of a name",
        lambda: [view for view in catalog.all() if "model-49" in view.name],
        50,
    )
    await timed("nothing found any more: all removed", lambda: registry.reconcile([], sources=[URL]))
    await files(registry, folder / "models")
    database.close()


async def files(registry: Registry, folder: Path) -> None:
    folder.mkdir()
    content = gguf_bytes(CHAT_FACTS)
    for number in range(FILES):
        below = folder / f"maker{number % 20}"
        below.mkdir(exist_ok=True)
        (below / f"model-{number}-Q4_K_M.gguf").write_bytes(content)
    sys.stdout.write(f"{FILES} files\n")
    await timed("look through the folder", lambda: registry.look([folder], caches=False))
    await timed("look again", lambda: registry.look([folder], caches=False))
    models, _, places = await registry.look([folder], caches=False)
    await timed("take them in", lambda: registry.reconcile(models, sources=places))
    await timed("take them in again", lambda: registry.reconcile(models, sources=places))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MODELS, Path(temporary)))
