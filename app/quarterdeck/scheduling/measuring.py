"""What real loads took against what was predicted: the estimate's memory, and the factor that follows from it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quarterdeck.backends.buffers import Buffers, parse_buffers
from quarterdeck.hardware.fit.llama import FIXED, llama_need
from quarterdeck.hardware.fit.options import VLLM, llama_options, vllm_options
from quarterdeck.hardware.fit.vllm import context_of, for_card, vllm_need
from quarterdeck.schemas.estimate import Comparison
from quarterdeck.schemas.jsontext import config_hash
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.shape import ModelShape
from quarterdeck.storage.database import Database

if TYPE_CHECKING:
    from sqlmodel import Session

_LAST_LOADS = 20
_SHOWN_LOADS = 10
_KEPT_PER_MODEL = 50
_LEAST, _MOST = 0.5, 2.0
# A model of which much less than its weights lies on the GPU was placed in part; that says nothing of its need.
_LEAST_RESIDENT = 0.9


@dataclass(frozen=True)
class Learned:
    """One real load: bytes by part, predicted (without correction) and measured."""

    predicted: dict[str, int]
    measured: dict[str, int]
    n_ctx: int | None

    @property
    def predicted_total(self) -> int:
        return sum(self.predicted.values())

    @property
    def measured_total(self) -> int:
        return sum(self.measured.values())


def measure(
    shape: ModelShape,
    backend: str,
    config: Mapping[str, Any],
    log_lines: Sequence[str],
    *,
    vram_bytes: int | None,
    card_bytes: int,
    usual_ctx: int,
) -> Learned | None:
    """Predicted against measured, for the same parts on both sides; None when nothing comparable was measured."""
    printed = parse_buffers(log_lines)
    if backend == VLLM:
        return _measure_vllm(shape, config, printed, card_bytes)
    if printed is not None and printed.engine == "llama.cpp":
        return _measure_printed(shape, backend, config, printed)
    return _measure_resident(shape, backend, config, vram_bytes, usual_ctx) if vram_bytes else None


def _measure_printed(shape: ModelShape, backend: str, config: Mapping[str, Any], printed: Buffers) -> Learned:
    options = llama_options(config, backend)
    options = replace(options, n_ctx=printed.n_ctx or options.n_ctx, parallel=printed.parallel or options.parallel)
    need = llama_need(shape, options, gpu_layers=printed.gpu_layers)
    names = dict.fromkeys((*need.gpu, *need.host))
    predicted = {name: need.part(name) for name in names if name not in ("runtime", "projector")}
    measured = {name: printed.part(name) for name in (*printed.gpu, *printed.host)}
    return Learned(predicted, measured, printed.n_ctx)


def _measure_resident(
    shape: ModelShape, backend: str, config: Mapping[str, Any], vram_bytes: int, usual_ctx: int
) -> Learned | None:
    options = llama_options(config, backend, usual_ctx=usual_ctx)
    need = llama_need(shape, options, gpu_layers=shape.layer_count + 1)
    weights = need.gpu.get("weights", 0)
    if vram_bytes < weights * _LEAST_RESIDENT:
        return None
    return Learned(need.gpu, {"weights": weights, "rest": max(vram_bytes - weights, 0)}, options.n_ctx or None)


def _measure_vllm(
    shape: ModelShape, config: Mapping[str, Any], printed: Buffers | None, card_bytes: int
) -> Learned | None:
    if printed is None or printed.cache_bytes is None or not card_bytes:
        return None
    options = for_card(vllm_options(config), card_bytes)
    need = vllm_need(shape, options, card_bytes)
    weights = printed.gpu.get("weights", 0)
    # vLLM gives the cache what is left of its claim; all but that and the weights is what had to be guessed.
    rest = max(need.claim - weights - printed.cache_bytes, 0)
    predicted = {name: size for name, size in need.parts.items() if name != "kv_cache"}
    return Learned(predicted, {"weights": weights, "rest": rest}, context_of(shape, options))


class Measurements:
    """The table of measurements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, view: ModelView, architecture: str, load_config: Mapping[str, Any], learned: Learned) -> None:
        def work(session: Session) -> None:
            from sqlmodel import col, delete, select

            from quarterdeck.storage.tables import Measurement

            session.add(
                Measurement(
                    model_name=view.name,
                    backend=view.backend,
                    architecture=architecture,
                    config_hash=config_hash(dict(load_config)),
                    n_ctx=learned.n_ctx,
                    predicted=learned.predicted,
                    measured=learned.measured,
                    predicted_total=learned.predicted_total,
                    measured_total=learned.measured_total,
                )
            )
            session.flush()
            newest = (
                select(Measurement.id)
                .where(Measurement.model_name == view.name)
                .order_by(col(Measurement.id).desc())
                .limit(_KEPT_PER_MODEL)
            )
            kept = list(session.exec(newest))
            session.exec(
                delete(Measurement).where(col(Measurement.model_name) == view.name, col(Measurement.id).not_in(kept))
            )

        await self._database.run(work)

    async def correction(self, backend: str, architecture: str) -> float:
        """The factor by which what is not weights was really larger, in the middle of the last loads; 1 without any."""

        def work(session: Session) -> list[float]:
            from sqlmodel import col, select

            from quarterdeck.storage.tables import Measurement

            rows = session.exec(
                select(Measurement)
                .where(Measurement.backend == backend, Measurement.architecture == architecture)
                .order_by(col(Measurement.id).desc())
                .limit(_LAST_LOADS)
            )
            return [ratio for row in rows if (ratio := _ratio(row.predicted, row.measured)) is not None]

        ratios = await self._database.run(work)
        return round(min(max(statistics.median(ratios), _LEAST), _MOST), 4) if ratios else 1.0

    async def history(self, model_name: str) -> list[Comparison]:
        """The last loads of a model, newest first."""

        def work(session: Session) -> list[Comparison]:
            from sqlmodel import col, select

            from quarterdeck.storage.tables import Measurement

            rows = session.exec(
                select(Measurement)
                .where(Measurement.model_name == model_name)
                .order_by(col(Measurement.id).desc())
                .limit(_SHOWN_LOADS)
            )
            return [
                Comparison(
                    at=row.at,
                    predicted_bytes=row.predicted_total,
                    measured_bytes=row.measured_total,
                    n_ctx=row.n_ctx,
                )
                for row in rows
            ]

        return await self._database.run(work)


def _ratio(predicted: Mapping[str, int], measured: Mapping[str, int]) -> float | None:
    """Measured by predicted, without what is known exactly."""
    expected = sum(size for name, size in predicted.items() if name not in FIXED)
    found = sum(size for name, size in measured.items() if name not in FIXED)
    return found / expected if expected and found else None
