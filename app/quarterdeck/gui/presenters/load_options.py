"""The options of a load that have a field of their own, per engine, and the rest of the load_config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from quarterdeck.schemas.jsontext import parse_object, to_text

SMALLEST_CONTEXT = 512
UNKNOWN_LIMIT = 131_072


class OptionNames(NamedTuple):
    """Under which names an engine takes the options with fields; the first name is the one that is written.

    Every name of `kv` is written. An engine that lacks an option has no names for it.
    """

    context: tuple[str, ...] = ()
    parallel: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    share: tuple[str, ...] = ()
    kv: tuple[str, ...] = ()
    kv_types: tuple[str, ...] = ()


_LLAMA = OptionNames(
    context=("n_ctx", "ctx_size", "context_length"),
    parallel=("n_parallel", "parallel"),
    layers=("n_gpu_layers", "gpu_layers", "ngl"),
    kv=("cache_type_k", "cache_type_v"),
    kv_types=("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "f32"),
)
_NAMES = {
    "embedded": _LLAMA,
    "llama-server": _LLAMA,
    "vllm": OptionNames(
        context=("max_model_len", "n_ctx", "context_length"),
        parallel=("max_num_seqs", "n_parallel"),
        share=("gpu_memory_utilization", "device_memory_utilization"),
        kv=("kv_cache_dtype",),
        kv_types=("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"),
    ),
    "ollama": OptionNames(
        context=("num_ctx", "n_ctx", "ctx_size", "context_length"), layers=("num_gpu", "n_gpu_layers", "gpu_layers")
    ),
}


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the fields hold; None leaves the choice to the engine. `rest` are the options without a field."""

    context: int | None = None
    parallel: int | None = None
    kv: str | None = None
    layers: int | None = None
    share: float | None = None
    rest: dict[str, Any] = field(default_factory=dict)


def names(backend: str) -> OptionNames:
    """The options with fields of an engine; none for one that Quarterdeck does not start."""
    return _NAMES.get(backend, OptionNames())


def split(backend: str, load_config: Mapping[str, Any]) -> LoadOptions:
    """Sort a load_config into fields and rest. What a field cannot show stays in the rest."""
    known, rest = names(backend), dict(load_config)
    return LoadOptions(
        context=_take(rest, known.context, int, lowest=1),
        parallel=_take(rest, known.parallel, int, lowest=1),
        kv=_take_kv(rest, known),
        layers=_take(rest, known.layers, int, lowest=0),
        share=_take(rest, known.share, float, lowest=0.01),
        rest=rest,
    )


def joined(backend: str, options: LoadOptions) -> dict[str, Any]:
    """The load_config of fields and rest; a field wins over an option of the rest that means the same."""
    known, config = names(backend), dict(options.rest)
    for which, value in (
        (known.context, options.context),
        (known.parallel, options.parallel),
        (known.layers, options.layers),
        (known.share, options.share),
    ):
        if value is not None and which:
            for name in which:
                config.pop(name, None)
            config[which[0]] = value
    if options.kv is not None:
        config.update(dict.fromkeys(known.kv, options.kv))
    return config


def read(backend: str, load_config: str) -> LoadOptions:
    """The options of a stored configuration. Raises ConfigError when it is not a JSON object."""
    return split(backend, parse_object(load_config))


def with_rest(options: LoadOptions, text: str) -> LoadOptions:
    """The options with another rest. Raises ConfigError when `text` is not a JSON object."""
    return replace(options, rest=parse_object(text))


def as_text(config: Mapping[str, Any]) -> str:
    return to_text(dict(config))


def as_json(backend: str, options: LoadOptions) -> str:
    """The load_config as it is sent."""
    return json.dumps(joined(backend, options))


def context_limit(model_limit: int | None, chosen: int | None) -> int:
    """The longest context that can be chosen: the model's own where it is known."""
    return max(model_limit or UNKNOWN_LIMIT, chosen or 0, SMALLEST_CONTEXT)


def context_stops(limit: int) -> list[int]:
    """Where the slider for the context stops: powers of two with a step between them, and the limit."""
    stops, step = [], SMALLEST_CONTEXT
    while step < limit:
        stops.append(step)
        if step >= 4096 and step + step // 2 < limit:
            stops.append(step + step // 2)
        step *= 2
    return [*stops, limit]


def nearest_stop(stops: list[int], context: int) -> int:
    """The place in `stops` that comes nearest."""
    return min(range(len(stops)), key=lambda place: abs(stops[place] - context))


def _take(rest: dict[str, Any], keys: tuple[str, ...], kind: type, *, lowest: float) -> Any:
    for key in keys:
        value = rest.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float if kind is float else int):
            continue
        if value >= lowest:
            del rest[key]
            return kind(value)
    return None


def _take_kv(rest: dict[str, Any], known: OptionNames) -> str | None:
    """The type of the KV cache, where keys and values have the same."""
    found = [rest.get(key) for key in known.kv]
    if not found or found[0] not in known.kv_types or any(other != found[0] for other in found):
        return None
    for key in known.kv:
        del rest[key]
    return str(found[0])
