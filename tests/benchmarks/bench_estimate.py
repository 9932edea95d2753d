"""The estimate against what the engine prints, over made models of many kinds, before any calibration.

Run: `python tests/benchmarks/bench_estimate.py [--random N]`. Prints one row for each real load, sizes in MiB as
predicted/printed; with `--random`, further models of random dimensions and settings.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from gguf_models import ARCHITECTURES, Recipe, random_recipe, write_model
from real_loads import PARTS, Load, load

MIB = 1 << 20
SEED = 20
FIXED = (
    Recipe("llama", layers=12, embedding=1024, heads=16, kv_heads=4, head_dim=64, ffn=2816, vocabulary=32000),
    Recipe("qwen2", layers=10, embedding=896, heads=14, head_dim=64, ffn=4864, vocabulary=65536, tied=True),
    Recipe("gemma2", layers=8, embedding=768, kv_heads=4, head_dim=128, ffn=3072, vocabulary=65536, window=2048),
    Recipe("gemma3", layers=12, embedding=640, heads=4, kv_heads=1, head_dim=256, ffn=2048, vocabulary=65536),
    Recipe("llama-moe", layers=6, embedding=512, head_dim=64, ffn=1024, vocabulary=32000, type="Q4_0"),
    Recipe(
        "qwen2moe", layers=8, embedding=768, heads=12, kv_heads=4, head_dim=64, vocabulary=32000, experts=16, used=4
    ),
)
CONTEXTS = (2048, 8192, 32768)
KV_TYPES = ("f16", "q8_0")


def fixed() -> Iterator[tuple[Recipe, dict[str, Any]]]:
    for recipe in FIXED:
        for n_ctx in CONTEXTS:
            for kv in KV_TYPES:
                yield recipe, {"n_ctx": n_ctx, "cache_type_k": kv, "cache_type_v": kv}


def drawn(count: int) -> Iterator[tuple[Recipe, dict[str, Any]]]:
    source = random.Random(SEED)
    for number in range(count):
        config: dict[str, Any] = {
            "n_ctx": source.choice((512, 2048, 4096, 16384)),
            "embeddings": source.random() < 0.5,
            "n_parallel": source.choice((1, 1, 2, 4)),
            "kv_unified": source.random() < 0.3,
            "n_ubatch": source.choice((128, 512, 512, 1024)),
        }
        if source.random() < 0.2:
            config["flash_attention"] = "off"
        elif source.random() < 0.5:
            config["cache_type_k"] = config["cache_type_v"] = source.choice(("q8_0", "q4_0"))
        yield random_recipe(source, ARCHITECTURES[number % len(ARCHITECTURES)]), config


def row(recipe: Recipe, config: dict[str, Any], seen: Load) -> str:
    parts = [f"{seen.predicted.part(name) / MIB:.1f}/{seen.printed.part(name) / MIB:.1f}" for name in PARTS]
    total = f"{seen.predicted.total_bytes / MIB:.1f}/{seen.printed.total_bytes / MIB:.1f}"
    kv = config.get("cache_type_k", "f16")
    cells = [recipe.architecture, recipe.type, str(config["n_ctx"]), kv, *parts, total, f"{seen.error:+.2%}"]
    return "| " + " | ".join(cells) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, default=0)
    count = parser.parse_args().random
    heads = ["architecture", "weights as", "n_ctx", "KV", *PARTS, "total", "error"]
    sys.stdout.write("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads) + "\n")
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        for recipe, config in (*fixed(), *drawn(count)):
            seen = load(write_model(Path(folder) / "made.gguf", recipe), config)
            errors.append(abs(seen.error))
            sys.stdout.write(row(recipe, config, seen))
            sys.stdout.flush()
    middle, worst = statistics.median(errors), max(errors)
    sys.stdout.write(f"\n{len(errors)} loads: median error {middle:.2%}, worst {worst:.2%}\n")


if __name__ == "__main__":
    main()
