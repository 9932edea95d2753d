"""What becomes of the registry when somebody looked around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.registry.models import Registry
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel, ScanResult
from quarterdeck.schemas.models import ConfigPatch, ModelCreate, Status
from quarterdeck.storage.database import Database

OLLAMA = "http://127.0.0.1:11434"
VLLM = "http://127.0.0.1:8000"


def tag(name: str, **fields: Any) -> FoundModel:
    return FoundModel(**{"name": name, "source": "ollama", "backend": "ollama", "url": OLLAMA, **fields})


def file(path: Path, **fields: Any) -> FoundModel:
    return FoundModel(**{"name": path.stem, "source": "folder", "backend": "embedded", "path": str(path), **fields})


async def look(registry: Registry, *found: FoundModel, sources: tuple[str, ...] = (OLLAMA,)) -> ScanResult:
    return await registry.reconcile(found, sources=sources)


def told(result: ScanResult) -> tuple[list[str], list[str], list[str]]:
    return result.added, result.changed, result.gone


async def touch(database: Database, name: str, **values: Any) -> None:
    def work(session: Any) -> None:
        from quarterdeck.storage.tables import Model

        row = session.get(Model, name)
        for field, value in values.items():
            setattr(row, field, value)

    await database.run(work)


async def writes(database: Database, registry: Registry, found: list[FoundModel], sources: list[str]) -> list[str]:
    """The statements that write, while `found` is taken in."""
    import sqlalchemy as sa
    from sqlalchemy.engine import Engine

    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE"):
            seen.append(statement)

    sa.event.listen(Engine, "before_cursor_execute", note)
    try:
        await registry.reconcile(found, sources=sources)
    finally:
        sa.event.remove(Engine, "before_cursor_execute", note)
    return seen


async def test_what_was_found_becomes_a_discovered_model(registry: Registry) -> None:
    result = await look(registry, tag("llama3:latest", size_bytes=9, capabilities=["chat"], digest="d", family="llama"))
    assert told(result) == (["llama3:latest"], [], [])
    view = await registry.get("llama3:latest")
    assert (view.backend, view.url, view.served_name, view.layer) == ("ollama", OLLAMA, "llama3:latest", "discovered")
    assert (view.size_bytes, view.capabilities, view.source, view.family) == (9, ["chat"], "ollama", "llama")
    assert view.layers["size_bytes"] == "discovered"
    assert "digest" not in view.layers
    assert view.installed
    assert view.hidden is None


async def test_looking_again_changes_nothing_and_writes_nothing(registry: Registry, database: Database) -> None:
    found = [tag("a"), tag("b", size_bytes=1)]
    await look(registry, *found)
    before = await registry.list()
    assert told(await look(registry, *found)) == ([], [], [])
    assert await writes(database, registry, found, [OLLAMA]) == []
    assert await registry.list() == before


async def test_only_the_row_that_changed_is_written(registry: Registry, database: Database) -> None:
    await look(registry, *(tag(f"m{number}") for number in range(20)))
    found = [tag(f"m{number}", size_bytes=1 if number == 7 else None) for number in range(20)]
    statements = await writes(database, registry, found, [OLLAMA])
    assert len(statements) == 1
    assert statements[0].startswith("UPDATE model")
    assert (await registry.get("m7")).size_bytes == 1


async def test_what_a_person_said_stays(registry: Registry) -> None:
    await look(registry, tag("a", capabilities=["chat"], size_bytes=1))
    await registry.set_facts("a", ConfigPatch(capabilities=["vision"], load_config={"num_ctx": 1}))
    result = await look(registry, tag("a", capabilities=["chat", "tools"], size_bytes=2))
    assert result.changed == ["a"]
    view = await registry.get("a")
    assert (view.capabilities, view.size_bytes, view.load_config) == (["vision"], 2, '{\n  "num_ctx": 1\n}')
    assert (view.layers["capabilities"], view.layers["size_bytes"], view.layer) == ("curated", "discovered", "curated")
    await registry.set_facts("a", ConfigPatch(capabilities=None))
    assert (await registry.get("a")).capabilities == ["chat", "tools"]


async def test_what_nobody_used_is_removed_when_it_is_gone(registry: Registry) -> None:
    await look(registry, tag("a"), tag("b"))
    assert told(await look(registry, tag("b"))) == ([], [], ["a"])
    assert [view.name for view in await registry.list()] == ["b"]


@pytest.mark.parametrize(
    "values", [{"total_loads": 1}, {"notes": "mine"}, {"status": Status.DEGRADED}, {"locked": True}]
)
async def test_what_was_used_is_kept_as_not_installed(
    registry: Registry, database: Database, values: dict[str, Any]
) -> None:
    await look(registry, tag("a"))
    await touch(database, "a", **values)
    assert (await look(registry)).gone == ["a"]
    view = await registry.get("a")
    assert not view.installed
    assert view.hidden == f"The server at {OLLAMA} no longer offers it."
    assert told(await look(registry)) == ([], [], [])
    assert told(await look(registry, tag("a"))) == ([], ["a"], [])
    assert (await registry.get("a")).installed


async def test_attempts_keep_a_model(registry: Registry, database: Database) -> None:
    from quarterdeck.compatibility.journal import Journal

    await look(registry, tag("a"))
    journal = Journal(database)
    begun = await journal.begin("a", backend="ollama", load_config={}, hardware="", forced=False)
    await journal.cancel(begun.attempt_id, "")
    assert (await look(registry)).gone == ["a"]
    assert len(await journal.attempts("a")) == 1


async def test_a_server_that_was_not_looked_at_keeps_its_models(registry: Registry) -> None:
    await look(registry, tag("a"))
    assert told(await look(registry, sources=())) == ([], [], [])
    assert told(await look(registry, sources=("http://127.0.0.1:9",))) == ([], [], [])
    assert (await look(registry, sources=("http://localhost:11434/v1/",))).gone == ["a"]


async def test_sources_by_their_word(registry: Registry) -> None:
    await look(registry, tag("a"))
    assert (await look(registry, sources=("ollama",))).gone == ["a"]


async def test_a_model_that_a_person_added_on_a_server_is_only_updated(registry: Registry) -> None:
    await registry.add(ModelCreate(model_name="mine", url="http://localhost:8000/v1/", backend="vllm", served_name="Q"))
    found = FoundModel(name="Q", source="server", backend=BackendKind.VLLM, url=VLLM, context_length=99)
    assert told(await look(registry, found, sources=(VLLM,))) == ([], ["mine"], [])
    view = await registry.get("mine")
    assert (view.context_length, view.url) == (99, "http://localhost:8000/v1/")
    assert told(await look(registry, sources=(VLLM,))) == ([], [], [])
    assert (await registry.get("mine")).installed


async def test_a_tag_that_ollama_no_longer_has_is_not_installed(registry: Registry) -> None:
    await registry.add(ModelCreate(model_name="mine", url=OLLAMA, backend="ollama", served_name="llama3"))
    assert told(await look(registry, tag("llama3:latest"))) == ([], ["mine"], [])
    assert (await look(registry)).gone == ["mine"]
    assert not (await registry.get("mine")).installed


async def test_the_same_id_at_two_servers(registry: Registry) -> None:
    other = FoundModel(name="qwen", source="server", backend=BackendKind.VLLM, url=VLLM)
    third = FoundModel(name="qwen", source="server", backend=BackendKind.VLLM, url="http://127.0.0.1:8001")
    result = await look(registry, tag("qwen"), other, third)
    assert result.added == ["qwen", "vllm/qwen", "vllm/qwen 2"]
    assert (await registry.get("vllm/qwen")).served_name == "qwen"
    [absence] = [each for each in await registry.absences() if each.name == "vllm/qwen"]
    assert absence.listed
    assert "“qwen”" in absence.reasons[0]
    assert told(await look(registry, tag("qwen"), other, third)) == ([], [], [])


async def test_names_that_are_taken_by_an_alias(registry: Registry) -> None:
    await look(registry, tag("a"))
    await registry.set_facts("a", ConfigPatch(aliases=["QWEN"]))
    assert (await look(registry, tag("a"), tag("qwen:latest"))).added == ["ollama/qwen:latest"]


async def test_one_file_under_two_names_is_one_model(registry: Registry, tmp_path: Path) -> None:
    real = tmp_path / "real.gguf"
    real.touch()
    (tmp_path / "link.gguf").symlink_to(real)
    (tmp_path / "below").symlink_to(tmp_path)
    found = [file(real), file(tmp_path / "link.gguf"), file(tmp_path / "below" / "real.gguf")]
    assert (await look(registry, *found)).added == ["real"]
    assert told(await look(registry, found[1])) == ([], ["real"], [])


async def test_every_model_of_a_file_learns_what_is_found(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.touch()
    await look(registry, file(path))
    await registry.set_facts("a", ConfigPatch(pinned=True))
    assert told(await look(registry, file(path, size_bytes=5))) == ([], ["a"], [])


async def test_a_file_that_vanished(registry: Registry, tmp_path: Path) -> None:
    used, unused = tmp_path / "used.gguf", tmp_path / "unused.gguf"
    for path in (used, unused):
        path.touch()
    await look(registry, file(used), file(unused))
    await registry.set_facts("used", ConfigPatch(aliases=["mine"]))
    used.unlink()
    unused.unlink()
    result = await look(registry, sources=(str(tmp_path),))
    assert sorted(result.gone) == ["unused", "used"]
    [view] = await registry.list()
    assert (view.name, view.installed, view.hidden) == ("used", False, f"“{used}” is not there.")
    used.touch()
    assert told(await look(registry, file(used))) == ([], ["used"], [])


async def test_a_folder_on_a_drive_that_is_not_connected(registry: Registry, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    path = drive / "a.gguf"
    path.touch()
    await look(registry, file(path))
    drive.rename(tmp_path / "away")
    assert (await look(registry, sources=())).gone == ["a"]
    assert not (await registry.get("a")).installed
    (tmp_path / "away").rename(drive)
    assert (await look(registry, sources=())).changed == ["a"]
    assert (await registry.get("a")).installed


async def test_a_moved_file_of_a_cache_is_followed(registry: Registry, tmp_path: Path) -> None:
    old, new = tmp_path / "old.gguf", tmp_path / "new.gguf"
    new.touch()
    marks = {"source": "hf_cache", "hf_path": "org/name/m.gguf", "digest": "sha256:1"}
    await look(registry, file(old, name="m", **marks))
    await registry.set_facts("m", ConfigPatch(roles=["coder"]))
    result = await look(registry, file(new, name="m", **marks), sources=("hf_cache",))
    assert told(result) == ([], ["m"], [])
    view = await registry.get("m")
    assert (view.path, view.roles, view.installed) == (str(new), ["coder"], True)


async def test_a_path_that_a_person_named_is_never_replaced(
    registry: Registry, write_model: Any, tmp_path: Path
) -> None:
    path = write_model("mine.gguf")
    await registry.add(ModelCreate(model_name="mine", path=str(path)))
    other = tmp_path / "other.gguf"
    other.touch()
    await look(registry, file(path, hf_path="o/n/f", digest="sha256:1"))
    result = await look(registry, file(other, hf_path="o/n/f", digest="sha256:1"))
    assert result.added == ["other"]
    assert (await registry.get("mine")).path == str(path)


async def test_impossible_names_are_passed_over(registry: Registry) -> None:
    result = await look(registry, tag("a//b"), tag("good"))
    assert result.added == ["good"]
    assert [each.reason for each in result.passed_over]


async def test_deprecated_and_testing_models_are_hidden(registry: Registry) -> None:
    await look(registry, tag("a"), tag("b"), tag("c"))
    await registry.set_facts("a", ConfigPatch(deprecated=True))
    await registry.set_facts("b", ConfigPatch(roles=["testing"]))
    hidden = {view.name: view.hidden for view in await registry.list()}
    assert hidden["a"] == "It is marked as deprecated."
    assert "testing" in str(hidden["b"])
    assert hidden["c"] is None
    absences = {each.name: each for each in await registry.absences()}
    assert set(absences) == {"a", "b"}
    assert all(not each.listed and each.hint for each in absences.values())


async def test_models_that_are_not_installed_are_shown_when_that_is_wanted(database: Database, tmp_path: Path) -> None:
    wanted = False
    registry = Registry(database, include_non_installed=lambda: wanted)
    await look(registry, file(tmp_path / "none.gguf"))
    await look(registry, sources=())
    assert (await registry.get("none")).hidden is not None
    wanted = True
    assert (await registry.get("none")).hidden is None


FOUND = st.lists(
    st.builds(
        tag,
        st.sampled_from(["a", "A", "a:latest", "b", "ollama/a", "c/d"]),
        url=st.sampled_from([OLLAMA, VLLM]),
        size_bytes=st.none() | st.integers(1, 2),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.tuples(FOUND, st.booleans()), max_size=4))
async def test_any_series_of_looks_ends_with_what_was_seen_last(
    rounds: list[tuple[list[FoundModel], bool]], registry: Registry
) -> None:
    for view in await registry.list():
        await registry.remove(view.name)
    for found, complete in rounds:
        sources = [OLLAMA, VLLM] if complete else []
        result = await registry.reconcile(found, sources=sources)
        names = [view.name for view in await registry.list()]
        assert len(names) == len({name.casefold() for name in names})
        assert set(result.added) <= set(names)
        assert not set(result.gone) & set(names)
        targets = {(each.url, each.name.removesuffix(":latest").casefold()) for each in found}
        known = {(v.url, v.served_name.removesuffix(":latest").casefold()) for v in await registry.list()}
        assert known == targets if complete else known >= targets
        again = await registry.reconcile(found, sources=sources)
        assert not again.added
        assert not again.gone
