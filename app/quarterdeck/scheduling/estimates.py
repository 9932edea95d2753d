"""Says beforehand whether a model will fit: its shape, the arithmetic, what is free now, and what real loads taught."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.hardware.fit.llama_verdict import estimate_llama
from quarterdeck.hardware.fit.options import OLLAMA, VLLM, llama_options, vllm_options
from quarterdeck.hardware.fit.room import Room, holders_of, room_of
from quarterdeck.hardware.fit.verdicts import estimate_by_size
from quarterdeck.hardware.fit.vllm_verdict import estimate_vllm
from quarterdeck.registry.ollama_blobs import ollama_files
from quarterdeck.registry.shapes import shape_of
from quarterdeck.scheduling.measuring import Measurements, measure
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.hardware import HardwareSample
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.shape import ModelShape
from quarterdeck.storage.database import Database

_GIB = 1 << 30
# From this much GPU memory on, Ollama gives a model this context when nobody says otherwise.
_OLLAMA_CONTEXTS = ((48 * _GIB, 262_144), (24 * _GIB, 32_768), (0, 4096))
_MOST_SHAPES = 64

_Stamp = tuple[int, ...]


@dataclass(frozen=True)
class _Known:
    """What is known of a model before any arithmetic. Without a shape only the size of its files is known."""

    shape: ModelShape | None
    size_bytes: int
    defaults: Mapping[str, Any] = field(default_factory=dict)


async def _always(_backend: str) -> bool:
    return True


class Estimator:
    """Estimates loads and learns from them. `sample` may block for a moment; `reserve_bytes` stay free on each GPU.

    `uses_gpu` says of a backend whether it computes on the GPU as it is installed here.
    """

    def __init__(
        self,
        database: Database,
        sample: Callable[[], HardwareSample],
        *,
        reserve_bytes: Callable[[], int] = lambda: 0,
        uses_gpu: Callable[[str], Awaitable[bool]] = _always,
    ) -> None:
        self._sample = sample
        self._uses_gpu = uses_gpu
        self._reserve_bytes = reserve_bytes
        self._measurements = Measurements(database)
        self._shapes: dict[Path, tuple[_Stamp, ModelShape]] = {}

    async def estimate(self, view: ModelView, load_config: Mapping[str, Any], *, freed_bytes: int = 0) -> Estimate:
        """The estimate of loading `view` with `load_config`; `freed_bytes` of GPU memory will be given back before.

        Raises AppError `no_estimate` when nothing is known of the model.
        """
        known = await asyncio.to_thread(self._known, view, load_config)
        estimate = await self._estimate(known, view.name, view.backend, load_config, freed_bytes)
        return estimate.model_copy(update={"history": await self._measurements.history(view.name)})

    async def estimate_file(self, path: Path, backend: str, load_config: Mapping[str, Any]) -> Estimate:
        """The same for a file or folder that is not registered. Raises AppError as `shape_of` does."""
        shape = await asyncio.to_thread(self._shape, path, load_config)
        return await self._estimate(_Known(shape, shape.file_bytes), path.name, backend, load_config, 0)

    async def learn(
        self, view: ModelView, load_config: Mapping[str, Any], log_lines: Sequence[str], vram_bytes: int | None
    ) -> None:
        """Keep what a good load really took, by what the engine printed, else by the GPU memory of its processes.

        A load of which nothing was measured, or whose model cannot be looked at, teaches nothing.
        """
        try:
            known = await asyncio.to_thread(self._known, view, load_config)
        except AppError:
            return
        if known.shape is None:
            return
        config = {**known.defaults, **load_config}
        _, room = await self._look(view.backend, 0)
        card_bytes = room.cards[0].total if room.cards else 0
        usual_ctx = _usual_ctx(view.backend, room)
        learned = measure(
            known.shape,
            view.backend,
            config,
            log_lines,
            vram_bytes=vram_bytes,
            card_bytes=card_bytes,
            usual_ctx=usual_ctx,
        )
        if learned is not None:
            await self._measurements.add(view, known.shape.architecture, load_config, learned)

    async def _estimate(
        self, known: _Known, name: str, backend: str, load_config: Mapping[str, Any], freed_bytes: int
    ) -> Estimate:
        sample, room = await self._look(backend, freed_bytes)
        if known.shape is None:
            estimate = estimate_by_size(known.size_bytes, room, model=name, backend=backend)
        else:
            correction = await self._measurements.correction(backend, known.shape.architecture)
            config = {**known.defaults, **load_config}
            estimate = await asyncio.to_thread(
                _compute, known.shape, config, room, model=name, backend=backend, correction=correction
            )
        if room.cards:
            return estimate.model_copy(update={"holders": holders_of(sample)})
        return estimate.model_copy(update={"hint": estimate.hint or await self._why_no_gpu(backend)})

    async def _look(self, backend: str, freed_bytes: int) -> tuple[HardwareSample, Room]:
        """What is free now; there are no cards for a backend that would not use them."""
        sample = await asyncio.to_thread(self._sample)
        if not await self._uses_gpu(backend):
            sample = sample.model_copy(update={"gpus": []})
        return sample, room_of(sample, freed_bytes=freed_bytes, reserve_bytes=self._reserve_bytes())

    async def _why_no_gpu(self, backend: str) -> str:
        if await self._uses_gpu(backend):
            return "There is no GPU that can be measured."
        return "This engine computes on the processor: it is installed without GPU support."

    def _known(self, view: ModelView, load_config: Mapping[str, Any]) -> _Known:
        """What the disk tells of a model (blocking)."""
        if view.path is not None:
            shape = self._shape(Path(view.path), load_config)
            return _Known(shape, shape.file_bytes)
        if view.backend == OLLAMA and (files := ollama_files(view.served_name)) is not None:
            try:
                shape = self._shape(files.model, {"mmproj": str(files.projector)} if files.projector else {})
            except AppError:
                return _Known(None, files.model.stat().st_size)
            return _Known(shape, shape.file_bytes, files.parameters)
        if view.size_bytes:
            return _Known(None, view.size_bytes)
        raise AppError(
            "no_estimate",
            f"What “{view.name}” needs cannot be told: its files are not on this machine.",
            "The server that has it decides whether it fits.",
            status=404,
        )

    def _shape(self, path: Path, load_config: Mapping[str, Any]) -> ModelShape:
        """The shape of the model at `path`, read anew when its files changed (blocking)."""
        stamp = _stamp(path)
        stored = self._shapes.get(path)
        if stored is None or stored[0] != stamp:
            stored = (stamp, shape_of(path))
            while len(self._shapes) >= _MOST_SHAPES:
                self._shapes.pop(next(iter(self._shapes)))
            self._shapes[path] = stored
        return _with_projector(stored[1], load_config.get("mmproj"))


def _compute(
    shape: ModelShape, config: Mapping[str, Any], room: Room, *, model: str, backend: str, correction: float
) -> Estimate:
    if backend == VLLM:
        return _compute_vllm(shape, config, room, model=model, correction=correction)
    options = llama_options(config, backend, usual_ctx=_usual_ctx(backend, room))
    return estimate_llama(shape, options, room, model=model, backend=backend, correction=correction)


def _compute_vllm(
    shape: ModelShape, config: Mapping[str, Any], room: Room, *, model: str, correction: float
) -> Estimate:
    """With what vLLM takes by itself, or where that cannot start, with what can and nobody has chosen otherwise."""

    def estimate(config: Mapping[str, Any]) -> Estimate:
        return estimate_vllm(shape, vllm_options(config), room, model=model, backend=VLLM, correction=correction)

    usual = estimate(config)
    if usual.verdict is not Verdict.TOO_BIG or usual.advice is None:
        return usual
    advised: dict[str, Any] = usual.advice.model_dump()
    if any(config[option] != value for option, value in advised.items() if option in config):
        return usual
    share = f"It is started with a memory share of {usual.advice.gpu_memory_utilization:.2f}, because no more is free."
    told = {"applied": advised, "advice": usual.advice, "hint": share}
    return estimate({**config, **advised}).model_copy(update=told)


def _usual_ctx(backend: str, room: Room) -> int:
    """The context a model gets when none is asked for; 0 means its own."""
    if backend != OLLAMA:
        return 0
    return next(context for least, context in _OLLAMA_CONTEXTS if room.total >= least)


def _with_projector(shape: ModelShape, mmproj: object) -> ModelShape:
    if not isinstance(mmproj, str):
        return shape
    try:
        return replace(shape, projector_bytes=Path(mmproj).expanduser().stat().st_size)
    except (OSError, ValueError, RuntimeError):
        return shape


def _stamp(path: Path) -> _Stamp:
    """Changes when the files of a model change; empty when there are none (then reading them says why)."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except (OSError, ValueError):
        return ()
    return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size))
