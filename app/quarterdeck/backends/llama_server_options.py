"""The options of llama-server, and how its versions spell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from quarterdeck.backends.llama_options import CACHE_TYPES, SHARED
from quarterdeck.backends.options import EXTRA_ARGS, Option, arguments
from quarterdeck.errors import ConfigError

OURS = ("--model", "-m", "--host", "--port", "--alias", "-a", "--api-key", "--api-key-file", "--hf-repo", "-hf",
        "--model-url", "-mu", "--docker-repo", "-dr")  # fmt: skip
"""What Quarterdeck sets itself, or what would have the server fetch another model."""

_EMBEDDINGS = "Answer embedding requests; older versions then answer nothing else."

OPTIONS = (
    *(replace(each, text=_EMBEDDINGS) if each.name == "embeddings" else each for each in SHARED),
    Option("rope_scale", "number", "Factor by which the context is stretched.", 0, flag="--rope-scale"),
    Option("yarn_orig_ctx", "integer", "Context length that the model was trained for, for YaRN.", 0,
           flag="--yarn-orig-ctx"),
    Option("kv_offload", "switch", "Keep the KV cache on the GPU.", flag="--kv-offload", off="--no-kv-offload"),
    Option("cpu_moe", "switch", "Keep all experts in main memory.", flag="--cpu-moe"),
    Option("n_cpu_moe", "integer", "Layers whose experts stay in main memory.", 0, 10_000, flag="--n-cpu-moe"),
    Option("override_tensor", "text", "Where tensors go, as pattern=buffer.", flag="--override-tensor"),
    Option("device", "text", "GPUs to use, with commas between them; none uses no GPU.", flag="--device"),
    Option("fit", "choice", "Lower what is not set until the model fits.", choices=("on", "off"), flag="--fit"),
    Option("numa", "choice", "How memory of several processors is used.",
           choices=("distribute", "isolate", "numactl"), flag="--numa"),
    Option("swa_full", "switch", "Keep the whole context for sliding windows too.", flag="--swa-full"),
    Option("cache_reuse", "integer", "Smallest piece of the KV cache that is moved and used again, in tokens.", 0,
           flag="--cache-reuse"),
    Option("cache_ram", "integer", "MiB of main memory for prompts of the past; -1 without limit.", -1,
           flag="--cache-ram"),
    Option("lora", "path", "LoRA adapter.", flag="--lora"),
    Option("chat_template_file", "path", "File with a chat template.", flag="--chat-template-file"),
    Option("chat_template_kwargs", "object", "Values for the chat template, such as enable_thinking.",
           flag="--chat-template-kwargs"),
    Option("reasoning_format", "choice", "How thinking is told from the answer.",
           choices=("auto", "none", "deepseek", "deepseek-legacy"), flag="--reasoning-format"),
    Option("reasoning_budget", "integer", "Tokens for thinking; -1 without limit, 0 none.", -1,
           flag="--reasoning-budget"),
    Option("reranking", "switch", "Answer reranking requests.", also=("rerank",), flag="--reranking"),
    Option("mmproj_offload", "switch", "Keep the projector on the GPU.", flag="--mmproj-offload",
           off="--no-mmproj-offload"),
    Option("draft_model", "path", "Small model for speculative decoding.", also=("model_draft",),
           flag="--model-draft"),
    Option("draft_n_gpu_layers", "integer", "Layers of the small model kept on the GPU.", 0, 10_000,
           flag="--gpu-layers-draft"),
    Option("draft_max", "integer", "Tokens guessed at once at most.", 0, 1024, flag="--draft-max"),
    Option("draft_min", "integer", "Tokens guessed at once at least.", 0, 1024, flag="--draft-min"),
    Option("draft_p_min", "number", "Probability below which no guess is made.", 0, 1, flag="--draft-p-min"),
    Option("draft_cache_type_k", "choice", "Number format of the small model's keys.", choices=CACHE_TYPES,
           flag="--cache-type-k-draft"),
    Option("draft_cache_type_v", "choice", "Number format of the small model's values.", choices=CACHE_TYPES,
           flag="--cache-type-v-draft"),
    Option("threads_http", "integer", "Threads that answer requests.", 1, 1024, flag="--threads-http"),
    Option("metrics", "switch", "Offer figures for Prometheus.", flag="--metrics"),
    Option("router", "switch", "Start it as a router that loads the model in a process of its own."),
    Option("models_dir", "path", "Folder of models for the router; the model's own folder when not given."),
    Option("models_preset", "path", "File in which the router finds the settings of its models."),
    Option("env", "pairs", "Environment variables for the engine, such as CUDA_VISIBLE_DEVICES."),
    EXTRA_ARGS,
)  # fmt: skip

_BY_NAME = {option.name: option for option in OPTIONS}
_ROUTER_ONLY = ("router", "models_dir", "models_preset")
_SPECIAL = ("flash_attention", "load_mode", "n_gpu_layers", EXTRA_ARGS.name)
_LOAD_MODES = {"mmap_mlock": "mmap+mlock", "direct_io": "dio"}
_OLD_LOAD_MODES = {
    "auto": [], "mmap": [], "none": ["--no-mmap"], "mlock": ["--no-mmap", "--mlock"], "mmap_mlock": ["--mlock"],
    "direct_io": ["--direct-io"],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a version of llama-server understands, as its help text tells; `flags` is empty where that is not known."""

    flags: frozenset[str] = frozenset()
    flash_attention_takes_value: bool = True

    @classmethod
    def read(cls, help_text: str) -> Dialect:
        flags = frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", help_text))
        takes_value = re.search(r"--flash-attn +(?:\S*[\[{<]|FA\b)", help_text) is not None
        return cls(flags, takes_value or not flags)

    def knows(self, flag: str) -> bool:
        return not self.flags or flag in self.flags

    @property
    def has_router(self) -> bool:
        return self.knows("--models-dir")


def spelled(config: Mapping[str, Any], dialect: Dialect) -> list[str]:
    """The arguments for a checked config. Raises ConfigError for an option that this version does not have."""
    words: list[str] = []
    for name, value in config.items():
        option = _BY_NAME[name]
        if name in _ROUTER_ONLY or name in _SPECIAL or not (option.flag or option.off):
            continue
        words += _known(option, arguments((option,), {name: value}), dialect)
    return [*words, *_special(config, dialect), *config.get(EXTRA_ARGS.name, ())]


def _special(config: Mapping[str, Any], dialect: Dialect) -> list[str]:
    words: list[str] = []
    # -1 leaves it to the engine, which older versions can only be told by saying nothing.
    if config.get("n_gpu_layers", -1) != -1:
        words += ["--n-gpu-layers", str(config["n_gpu_layers"])]
    attention = config.get("flash_attention")
    if attention and dialect.flash_attention_takes_value:
        words += ["--flash-attn", attention]
    elif attention == "on":
        words.append("--flash-attn")
    mode = config.get("load_mode", "auto")
    if mode != "auto":
        modern = dialect.knows("--load-mode")
        words += ["--load-mode", _LOAD_MODES.get(mode, mode)] if modern else _OLD_LOAD_MODES[mode]
    return words


def _known(option: Option, words: list[str], dialect: Dialect) -> list[str]:
    """`words` where the version has them; nothing where it can only be told the opposite of a switch."""
    if not words or dialect.knows(words[0]):
        return words
    opposite = option.off if words[0] == option.flag else option.flag
    if option.kind == "switch" and opposite and dialect.knows(opposite):
        return []
    raise ConfigError(
        "unknown_to_engine", f"This version of llama-server has no “{words[0]}”.",
        f"Update llama-server, or remove the option “{option.name}”.", option=option.name,
    )  # fmt: skip
