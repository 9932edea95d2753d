"""Whether a GGUF model fits, how much of it goes to the GPU, and how long a context may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from quarterdeck.hardware.fit.llama import Need, cache_of, llama_need
from quarterdeck.hardware.fit.options import LlamaOptions
from quarterdeck.hardware.fit.room import Room, spoken
from quarterdeck.hardware.fit.verdicts import is_tight, room_fields, sums
from quarterdeck.schemas.estimate import Estimate, Verdict
from quarterdeck.schemas.shape import ModelShape

_LONGEST_CTX = 1 << 20
_CELLS = 256


def estimate_llama(
    shape: ModelShape, options: LlamaOptions, room: Room, *, model: str, backend: str, correction: float = 1.0
) -> Estimate:
    """The estimate of a load by llama.cpp. `correction` is the factor learned from real loads."""
    if options.main_gpu is not None:
        room = room.only(options.main_gpu)
    case = _Case(shape, options, room, correction)
    placed = case.place()
    cache = cache_of(shape, options)
    parts = {name: placed.need.part(name) for name in (*placed.need.gpu, *placed.need.host)}
    return Estimate(
        model=model,
        backend=backend,
        **sums(parts),
        **room_fields(room),
        **case.judge(placed),
        host_bytes=placed.need.host_bytes,
        n_ctx=cache.n_ctx,
        parallel=max(options.parallel, 1),
        kv_type=options.key_type,
        gpu_layers=min(placed.layers, shape.layer_count) if room.cards else None,
        layer_count=shape.layer_count,
        max_ctx_that_fits=case.longest(),
        correction=correction,
    )


class _Placed(NamedTuple):
    """How many layers (the output is one more) go to the GPU, and the need that follows."""

    layers: int
    need: Need


class _Case:
    def __init__(self, shape: ModelShape, options: LlamaOptions, room: Room, correction: float) -> None:
        self._shape = shape
        self._options = options
        self._room = room
        self._correction = correction
        self._all = shape.layer_count + 1

    def place(self) -> _Placed:
        """As the engine would place it: what is asked for, else as much as there is room for."""
        if not self._room.cards:
            return self._with(0)
        if self._options.gpu_layers is not None:
            return self._with(min(self._options.gpu_layers, self._all))
        if self._with(self._all).need.gpu_bytes <= self._room.free:
            return self._with(self._all)
        return self._with(_last(0, self._all, lambda layers: self._with(layers).need.gpu_bytes <= self._room.free))

    def longest(self) -> int | None:
        """The longest context with which all that was asked for is on the GPU, or in main memory without one."""
        together = 1 if self._options.unified else max(self._options.parallel, 1)
        step = _CELLS * together
        steps = (self._shape.n_ctx_train or _LONGEST_CTX) // _CELLS

        def fits(number: int) -> bool:
            options = self._options.with_context(number * step)
            return _Case(self._shape, options, self._room, self._correction).fits_wholly()

        if steps < 1 or not fits(1):
            return None
        return steps * step if fits(steps) else _last(1, steps, fits) * step

    def fits_wholly(self) -> bool:
        if not self._room.cards:
            return self._with(0).need.host_bytes <= self._room.host_free
        wanted = self._all if self._options.gpu_layers is None else min(self._options.gpu_layers, self._all)
        need = self._with(wanted).need
        return need.gpu_bytes <= self._room.free and need.host_bytes <= self._room.host_total

    def judge(self, placed: _Placed) -> dict[str, Any]:
        if not self._room.cards:
            return self._judge_main_memory(placed.need)
        whole = self._with(self._all).need
        if placed.need.host_bytes > self._room.host_total:
            return self._too_big(whole)
        if placed.need.gpu_bytes > self._room.free:
            return self._too_many_layers(placed)
        if placed.layers < self._all:
            return self._spills(placed, whole)
        return self._fits(placed.need)

    def _fits(self, need: Need) -> dict[str, Any]:
        tight = is_tight(need.gpu_bytes, self._room.free)
        size, free = spoken(need.gpu_bytes), spoken(self._room.free)
        return {
            "fits": True,
            "verdict": Verdict.TIGHT if tight else Verdict.FITS,
            "sentence": f"Needs {size}, {free} are free: it fits{', but only just' if tight else ''}.",
            "hint": "Programs that take GPU memory meanwhile can make it fail." if tight else "",
        }

    def _spills(self, placed: _Placed, whole: Need) -> dict[str, Any]:
        size, free = spoken(whole.gpu_bytes), spoken(self._room.free)
        asked = self._options.gpu_layers is not None and whole.gpu_bytes <= self._room.free
        hint = "All of it would fit: remove n_gpu_layers." if asked else self._way_out()
        if placed.need.host_bytes > self._room.host_free:
            hint = f"Of main memory {spoken(self._room.host_free)} are free: close programs, or it will be very slow."
        return {
            "fits": False,
            "verdict": Verdict.SPILLS,
            "sentence": f"Needs {size}, {free} are free: {self._shares(placed.layers)}.",
            "hint": hint,
        }

    def _shares(self, layers: int) -> str:
        count = self._shape.layer_count
        if not layers:
            return "no layer fits on the GPU, so all of it runs from main memory and is slower"
        if layers >= count:
            return "the layers go to the GPU, but the output is computed from main memory, which is slower"
        return f"{layers} of {count} layers go to the GPU, the rest runs from main memory and is slower"

    def _too_many_layers(self, placed: _Placed) -> dict[str, Any]:
        most = _last(-1, self._all, lambda layers: self._with(max(layers, 0)).need.gpu_bytes <= self._room.free)
        size, free = spoken(placed.need.gpu_bytes), spoken(self._room.free)
        return {
            "fits": False,
            "verdict": Verdict.TOO_BIG,
            "sentence": f"{placed.layers} layers on the GPU need {size}, but only {free} are free.",
            "hint": f"Set n_gpu_layers to {max(most, 0)}, or leave it out: then the engine decides.",
        }

    def _too_big(self, whole: Need) -> dict[str, Any]:
        free, host = spoken(self._room.free), spoken(self._room.host_total)
        return {
            "fits": False,
            "verdict": Verdict.TOO_BIG,
            "sentence": f"Needs {spoken(whole.total_bytes)}, but the GPU has {free} free and this machine "
            f"{host} of main memory.",
            "hint": self._way_out(),
        }

    def _judge_main_memory(self, need: Need) -> dict[str, Any]:
        size, free, total = (spoken(size) for size in (need.host_bytes, self._room.host_free, self._room.host_total))
        if need.host_bytes > self._room.host_total:
            sentence = f"Needs {size}, but this machine has {total} of main memory."
            return {"verdict": Verdict.TOO_BIG, "sentence": sentence, "hint": self._way_out()}
        lacking = need.host_bytes > self._room.host_free
        return {
            "verdict": Verdict.UNKNOWN,
            "sentence": f"Needs {size} of main memory, of which {free} are free.",
            "hint": self._way_out() if lacking else "",
        }

    def _way_out(self) -> str:
        longest = self.longest()
        asked = cache_of(self._shape, self._options).n_ctx
        if longest is not None and longest < asked:
            return f"With a context of {longest:,} tokens instead of {asked:,} all of it fits."
        return "Unload other models, or choose a smaller model or a stronger quantisation of it."

    def _with(self, layers: int) -> _Placed:
        need = llama_need(self._shape, self._options, gpu_layers=layers)
        cards = max(len(self._room.cards), 1)
        if layers and cards > 1:
            # Every card has a compute buffer and a driver context of its own.
            need = replace(
                need, gpu={**need.gpu, **{name: cards * need.gpu.get(name, 0) for name in ("compute", "runtime")}}
            )
        return _Placed(layers, need.corrected(self._correction))


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last number that `holds`, between `low`, which counts as held, and `high`, which does not."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
