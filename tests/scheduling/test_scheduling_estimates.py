"""Estimates of models, and what they learn from real loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gguf_models import Recipe, write_model
from safetensors_writer import write_folder

from quarterdeck.errors import AppError
from quarterdeck.hardware.fit.llama import llama_need
from quarterdeck.hardware.fit.options import llama_options
from quarterdeck.registry.shapes import shape_of
from quarterdeck.scheduling import estimates
from quarterdeck.scheduling.estimates import Estimator
from quarterdeck.schemas.estimate import Verdict
from quarterdeck.schemas.hardware import GpuProcess, GpuSample, HardwareSample, HostSample, NvmlState, NvmlStatus
from quarterdeck.schemas.models import ModelView
from quarterdeck.settings import Folders
from quarterdeck.storage.database import Database

GIB, MIB = 1 << 30, 1 << 20


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(Folders(tmp_path / "data", tmp_path / "config"))
    database.open()
    yield database
    database.close()


class Machine:
    """What the sampler would say; 24 GiB of GPU memory, of which 1 GiB is taken."""

    def __init__(self) -> None:
        self.gpus = [GpuSample(index=0, uuid="u", name="GPU", memory_used=GIB, memory_total=24 * GIB)]
        self.processes = [GpuProcess(gpu=0, pid=7, name="Xorg", memory_bytes=GIB)]

    def sample(self) -> HardwareSample:
        return HardwareSample(
            at=datetime.now(UTC),
            nvml=NvmlStatus(state=NvmlState.OK),
            host=HostSample(cpu_percent=1, cpu_count=2, memory_used=4 * GIB, memory_total=32 * GIB),
            gpus=self.gpus,
            processes=self.processes,
        )


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def estimator(database: Database, machine: Machine) -> Estimator:
    return Estimator(database, machine.sample)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_model(tmp_path / "made.gguf", Recipe("llama"))


def view(path: Path | None = None, backend: str = "embedded", **fields: Any) -> ModelView:
    given = {"name": "made", "served_name": "made", "layer": "curated", "created_at": datetime.now(UTC), **fields}
    return ModelView(backend=backend, path=None if path is None else str(path), **given)


def printed(path: Path, config: dict[str, Any], factor: float) -> list[str]:
    """What the engine would print if everything but the weights took `factor` of what is predicted."""
    need = llama_need(shape_of(path), llama_options(config, "embedded"), gpu_layers=0)
    sizes = {"model": 1, "KV": factor, "compute": factor, "output": factor}
    names = {"model": "weights", "KV": "kv_cache"}
    return [
        "load_tensors: loading model tensors",
        f"llama_context: n_ctx                 = {config['n_ctx']}",
        *(
            f"x:   CPU {what} buffer size = {need.part(names.get(what, what)) * scale / MIB:.4f} MiB"
            for what, scale in sizes.items()
        ),
    ]


async def test_a_registered_file(estimator: Estimator, file: Path) -> None:
    found = await estimator.estimate(view(file), {"n_ctx": 8192})
    assert (found.model, found.backend, found.verdict, found.n_ctx) == ("made", "embedded", Verdict.FITS, 8192)
    assert [(holder.name, holder.bytes) for holder in found.holders] == [("Xorg", GIB)]
    assert (found.free_bytes, found.correction, found.history) == (23 * GIB, 1.0, [])


async def test_what_will_be_freed_and_what_is_reserved_count(database: Database, machine: Machine, file: Path) -> None:
    machine.gpus[0].memory_used = 20 * GIB
    estimator = Estimator(database, machine.sample, reserve_bytes=lambda: GIB)
    assert (await estimator.estimate(view(file), {})).free_bytes == 3 * GIB
    assert (await estimator.estimate(view(file), {}, freed_bytes=10 * GIB)).free_bytes == 13 * GIB


async def test_a_file_that_is_not_registered(estimator: Estimator, file: Path, tmp_path: Path) -> None:
    found = await estimator.estimate_file(file, "llama-server", {"n_ctx": 4096})
    assert (found.model, found.parallel) == ("made.gguf", 4)
    folder = write_folder(tmp_path / "tiny")
    claimed = await estimator.estimate_file(folder, "vllm", {"gpu_memory_utilization": 0.5})
    assert (claimed.claim_bytes, claimed.fits) == (12 * GIB, True)
    with pytest.raises(AppError, match="There is no file"):
        await estimator.estimate_file(tmp_path / "nothing.gguf", "embedded", {})


async def test_a_file_is_read_once_until_it_changes(
    estimator: Estimator, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(estimates, "shape_of", lambda path: reads.append(path) or shape_of(path))
    before = await estimator.estimate(view(file), {"n_ctx": 512})
    await estimator.estimate(view(file), {"n_ctx": 1024})
    assert len(reads) == 1
    write_model(file, Recipe("llama", layers=8))
    after = await estimator.estimate(view(file), {"n_ctx": 512})
    assert len(reads) == 2
    assert after.layer_count == 2 * (before.layer_count or 0)


async def test_a_projector_in_the_configuration_is_counted(estimator: Estimator, file: Path, tmp_path: Path) -> None:
    projector = tmp_path / "mmproj.gguf"
    projector.write_bytes(bytes(MIB))
    found = await estimator.estimate(view(file), {"n_ctx": 512, "mmproj": str(projector)})
    assert [part.bytes for part in found.parts if part.name == "projector"] == [MIB]
    plain = await estimator.estimate(view(file), {"n_ctx": 512, "mmproj": str(tmp_path / "gone")})
    assert "projector" not in {part.name for part in plain.parts}


async def test_a_model_on_a_server_is_judged_by_its_size_or_not_at_all(estimator: Estimator) -> None:
    away = view(backend="openai-compatible", url="http://elsewhere:1234")
    with pytest.raises(AppError) as caught:
        await estimator.estimate(away, {})
    assert caught.value.code == "no_estimate"
    sized = await estimator.estimate(away.model_copy(update={"size_bytes": 5 * GIB}), {})
    assert (sized.weights_bytes, sized.total_bytes, sized.verdict) == (5 * GIB, 5 * GIB, Verdict.UNKNOWN)


def ollama_store(folder: Path, model: Path, parameters: dict[str, Any]) -> None:
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "sha256-aa").symlink_to(model)
    (folder / "blobs" / "sha256-bb").write_text(json.dumps(parameters))
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:aa"},
        {"mediaType": "application/vnd.ollama.image.params", "digest": "sha256:bb"},
        {"mediaType": "application/vnd.ollama.image.template", "digest": "../../../etc/passwd"},
        "nonsense",
    ]
    for where in ("registry.ollama.ai/library/made/latest", "registry.ollama.ai/somebody/made/4b"):
        manifest = folder / "manifests" / where
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"layers": layers}))


@pytest.mark.parametrize("tag", ["made", "made:latest", "somebody/made:4b"])
async def test_an_ollama_tag_is_looked_at_through_its_files(
    estimator: Estimator, file: Path, tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    ollama_store(tmp_path / "store", file, {"num_ctx": 2048})
    model = view(backend="ollama", served_name=tag, url="http://127.0.0.1:11434")
    found = await estimator.estimate(model, {})
    assert (found.n_ctx, found.layer_count, found.verdict) == (2048, 4, Verdict.FITS)
    assert (await estimator.estimate(model, {"num_ctx": 4096})).n_ctx == 4096


@pytest.mark.parametrize("tag", ["gone", "../../made", "a/b/c/d:e", "", ":"])
async def test_an_ollama_tag_without_files_is_no_error_when_its_size_is_known(
    estimator: Estimator, file: Path, tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    ollama_store(tmp_path / "store", file, {})
    model = view(backend="ollama", served_name=tag, size_bytes=GIB)
    assert (await estimator.estimate(model, {})).parts[0].bytes == GIB


async def test_ollama_gives_a_model_the_context_that_the_card_allows(
    estimator: Estimator, machine: Machine, file: Path
) -> None:
    large = await estimator.estimate(view(file, "ollama"), {})
    machine.gpus[0].memory_total = 8 * GIB
    small = await estimator.estimate(view(file, "ollama"), {})
    assert (large.n_ctx, small.n_ctx) == (32_768, 4096)


async def test_a_load_teaches_its_architecture_and_is_shown(estimator: Estimator, file: Path) -> None:
    config = {"n_ctx": 8192}
    before = await estimator.estimate(view(file), config)
    await estimator.learn(view(file), config, printed(file, config, 1.2), None)
    after = await estimator.estimate(view(file), config)
    assert after.correction == pytest.approx(1.2, abs=0.01)
    assert after.weights_bytes == before.weights_bytes
    assert after.kv_cache_bytes == pytest.approx(1.2 * before.kv_cache_bytes, rel=0.01)
    (shown,) = after.history
    assert shown.n_ctx == 8192
    assert shown.measured_bytes > shown.predicted_bytes
    other = await estimator.estimate(view(file, "llama-server"), config)
    assert other.correction == 1.0


async def test_what_is_learned_converges_instead_of_adding_up(estimator: Estimator, file: Path) -> None:
    config = {"n_ctx": 8192}
    for _ in range(5):
        await estimator.learn(view(file), config, printed(file, config, 1.2), None)
    assert (await estimator.estimate(view(file), config)).correction == pytest.approx(1.2, abs=0.01)


async def test_one_odd_load_changes_little_and_none_changes_everything(estimator: Estimator, file: Path) -> None:
    config = {"n_ctx": 8192}
    for factor in (1.1, 1.1, 9.0):
        await estimator.learn(view(file), config, printed(file, config, factor), None)
    assert (await estimator.estimate(view(file), config)).correction == pytest.approx(1.1, abs=0.01)
    for _ in range(20):
        await estimator.learn(view(file), config, printed(file, config, 9.0), None)
    assert (await estimator.estimate(view(file), config)).correction == 2.0


async def test_without_printed_sizes_the_memory_on_the_gpu_teaches(estimator: Estimator, file: Path) -> None:
    ollama = view(file, "ollama")
    expected = await estimator.estimate(ollama, {"num_ctx": 8192})
    on_gpu = expected.total_bytes - expected.host_bytes
    await estimator.learn(ollama, {"num_ctx": 8192}, ["no sizes"], on_gpu + 100 * MIB)
    after = await estimator.estimate(ollama, {"num_ctx": 8192})
    assert after.correction > 1.05
    assert after.history[0].measured_bytes == on_gpu + 100 * MIB


async def test_vllm_teaches_what_its_cache_lacks(estimator: Estimator, tmp_path: Path) -> None:
    model = view(write_folder(tmp_path / "tiny"), "vllm")
    lines = ["Model loading took 0.01 GiB memory and 2 seconds", "Available KV cache memory: 19.50 GiB"]
    await estimator.learn(model, {}, lines, None)
    after = await estimator.estimate(model, {})
    # 22.08 GiB claimed − 0.01 − 19.5 are 2.57 GiB, far more than predicted.
    assert after.correction > 1.5
    assert after.history[0].measured_bytes == pytest.approx(2.58 * GIB, rel=0.01)


@pytest.mark.parametrize("vram", [None, 1000])
async def test_a_load_of_which_nothing_was_measured_teaches_nothing(
    estimator: Estimator, file: Path, vram: int | None
) -> None:
    await estimator.learn(view(file), {}, ["serving made"], vram)
    await estimator.learn(view(backend="litellm", url="http://x"), {}, [], 5 * GIB)
    found = await estimator.estimate(view(file), {})
    assert (found.correction, found.history) == (1.0, [])


async def test_a_model_keeps_a_bounded_number_of_measurements(
    estimator: Estimator, file: Path, database: Database
) -> None:
    from sqlmodel import select

    from quarterdeck.storage.tables import Measurement

    config = {"n_ctx": 512}
    for _ in range(55):
        await estimator.learn(view(file), config, printed(file, config, 1.0), None)
    rows = await database.run(lambda session: len(list(session.exec(select(Measurement.id)))))
    assert rows == 50
    assert len((await estimator.estimate(view(file), config)).history) == 10


async def test_an_engine_without_gpu_support_is_estimated_in_main_memory(
    database: Database, machine: Machine, file: Path
) -> None:
    async def uses_gpu(backend: str) -> bool:
        return backend != "embedded"

    estimator = Estimator(database, machine.sample, uses_gpu=uses_gpu)
    own = await estimator.estimate(view(file), {})
    other = await estimator.estimate(view(file, "llama-server"), {})
    assert (own.verdict, own.fits, own.free_bytes, own.card_bytes) == (Verdict.UNKNOWN, None, None, None)
    assert "without GPU support" in own.hint
    assert other.verdict is Verdict.FITS


async def test_vllm_is_started_with_the_share_that_is_free_where_nobody_chose_one(
    estimator: Estimator, machine: Machine, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "tiny")
    machine.gpus[0].memory_used = 14 * GIB
    found = await estimator.estimate_file(folder, "vllm", {})
    assert (found.verdict, found.fits) == (Verdict.FITS, True)
    assert 0.2 < found.applied["gpu_memory_utilization"] < 10 / 24
    assert isinstance(found.applied["max_model_len"], int)
    assert (found.claim_bytes or 0) <= 10 * GIB
    chosen = await estimator.estimate_file(folder, "vllm", {"gpu_memory_utilization": 0.9})
    assert (chosen.verdict, chosen.applied) == (Verdict.TOO_BIG, {})
    assert chosen.advice is not None
