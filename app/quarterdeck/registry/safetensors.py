"""Reads what a folder of safetensors says about its model, as engines such as vLLM read it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.registry.safetensors_file import TensorEntry, is_there, read_json, read_tensors

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
LARGEST_CONTEXT = 1 << 40

_NUMBERED = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")
_PACKED = (".qweight", ".weight_packed")
_HELPERS = (
    ".qzeros", ".scales", ".g_idx", ".weight_scale", ".weight_scale_inv", ".input_scale", ".weight_zero_point",
    ".weight_shape", ".weight_g_idx", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".SCB",
)  # fmt: skip
_WORDS = {"awq": "AWQ", "gptq": "GPTQ", "fp8": "FP8", "mxfp4": "MXFP4", "modelopt": "NVFP4", "gguf": "GGUF"}


@dataclass(frozen=True)
class FolderHeader:
    """What a folder of safetensors says about its model. Sizes in bytes, context in tokens; null: it does not say.

    `architecture` is the model type of the configuration (`llama`, `qwen2` …), `model_class` the class that engines
    run (`LlamaForCausalLM`). `quantization` is AWQ, GPTQ, FP8, BNB-4bit and the like, or the stored number format.
    `size_bytes` counts the weight files that an engine reads. `embeds` is set when it turns text into vectors.
    """

    architecture: str
    model_class: str | None
    parameter_count: int
    quantization: str | None
    dtype: str | None
    context_length: int | None
    has_chat_template: bool
    has_vision: bool
    embeds: bool
    tensor_count: int
    size_bytes: int
    files: tuple[Path, ...]
    bytes_by_dtype: Mapping[str, int]
    config: Mapping[str, Any] = field(repr=False)
    tensors: tuple[TensorEntry, ...] = field(repr=False)


def read_folder(path: Path) -> FolderHeader:
    """Read the model in the folder `path` (blocking). Raises AppError saying what is wrong with it."""
    names = _list(path)
    config = _config(path, names)
    files = _weight_files(path, names)
    tensors = tuple(tensor for file in files for tensor in read_tensors(file))
    if not tensors:
        raise AppError("no_tensors", f"The weight files in “{path.name}” hold no weights.", "Download the model again.")
    return describe_folder(path, names, config, files, tensors)


def describe_folder(
    path: Path,
    names: set[str],
    config: Mapping[str, Any],
    files: tuple[Path, ...],
    tensors: tuple[TensorEntry, ...],
) -> FolderHeader:
    text = text_config(config)
    classes = config.get("architectures")
    model_class = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else None
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.bytes
    dtype = _text(config, "dtype", "torch_dtype") or _text(text, "dtype", "torch_dtype")
    return FolderHeader(
        architecture=_text(config, "model_type") or (model_class or "").removesuffix("ForCausalLM").lower(),
        model_class=model_class,
        parameter_count=_parameters(tensors, _bits(config)),
        quantization=_quantization(config) or sizes.most_common(1)[0][0],
        dtype=dtype.removeprefix("torch.") if dtype else None,
        context_length=_context(text),
        has_chat_template=_has_template(path, names),
        has_vision=isinstance(config.get("vision_config"), dict),
        embeds="modules.json" in names or (model_class is not None and not _writes(model_class)),
        tensor_count=len(tensors),
        size_bytes=sum(file.stat().st_size for file in files),
        files=files,
        bytes_by_dtype=dict(sizes),
        config=config,
        tensors=tensors,
    )


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that speaks of the language model; models with pictures nest it."""
    for key in ("text_config", "llm_config", "language_config"):
        nested = config.get(key)
        if isinstance(nested, dict) and nested:
            return nested
    thinker = config.get("thinker_config")
    return text_config(thinker) if isinstance(thinker, dict) else config


def _list(path: Path) -> set[str]:
    try:
        names = {entry.name for entry in path.iterdir()}
    except NotADirectoryError:
        raise AppError("not_a_folder", f"“{path.name}” is not a folder.", "Choose the folder of the model.") from None
    except (FileNotFoundError, ValueError):
        raise AppError(
            "file_missing",
            f"There is no folder “{path.name}” in “{path.parent}”.",
            "Check the path. If the folder was moved, add it from its new place.",
        ) from None
    except OSError as error:
        raise AppError(
            "file_unreadable",
            f"“{path.name}” cannot be read: {error.strerror or error}.",
            "Check who owns the folder and its permissions, and that its drive is connected.",
        ) from None
    if not names:
        raise AppError("empty_folder", f"“{path.name}” is empty.", "Download the model into it.")
    return names


def _config(path: Path, names: set[str]) -> dict[str, Any]:
    if "adapter_config.json" in names and CONFIG not in names:
        raise AppError(
            "not_a_model",
            f"“{path.name}” is an adapter for a model, not a model.",
            "Add the model itself; this folder belongs into its load_config.",
        )
    if CONFIG not in names:
        raise AppError(
            "config_missing",
            f"“{path.name}” has no {CONFIG}, which names the architecture of the model.",
            "Download the whole model, not only its weights."
            if any(name.endswith(".safetensors") for name in names)
            else "Choose the folder that holds the model's files.",
        )
    config = read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str) and not config.get("architectures"):
        raise AppError(
            "bad_config",
            f"The {CONFIG} of “{path.name}” does not name the architecture of the model.",
            "Download the file again.",
        )
    return config


def _weight_files(path: Path, names: set[str]) -> tuple[Path, ...]:
    if INDEX in names:
        wanted = _indexed(path)
    else:
        wanted = sorted(name for name in names if name.endswith(".safetensors") and not name.startswith("adapter_"))
        # Some makers add the same weights in their own layout; engines read only one of the two.
        wanted = [name for name in wanted if not name.startswith("consolidated")] or wanted
        wanted += _missing_numbers(wanted)
    if not wanted:
        raise _no_weights(path, names)
    gone = [name for name in wanted if not is_there(path / name)]
    if gone:
        others = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise AppError(
            "part_missing",
            f"“{gone[0]}”{others} of {len(wanted)} weight files is missing in “{path}”.",
            "The download was interrupted or is still running. Download the missing files into the same folder.",
        )
    return tuple(path / name for name in wanted)


def _indexed(path: Path) -> list[str]:
    weight_map = read_json(path / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise AppError("bad_index", f"“{INDEX}” does not say where the weights are.", "Download the file again.")
    files = {str(name) for name in weight_map.values()}
    if strange := [name for name in files if Path(name).name != name]:
        raise AppError(
            "bad_index", f"“{INDEX}” names a file outside its folder: “{strange[0][:80]}”.", "Do not use it."
        )
    return sorted(files)


def _missing_numbers(names: Iterable[str]) -> list[str]:
    """The names of the parts that should be there beside `names`, by their numbers."""
    have = set(names)
    missing = set()
    for name in have:
        if numbered := _NUMBERED.search(name):
            stem, count = name[: numbered.start()], min(int(numbered["count"]), 4096)
            every = {f"{stem}-{number:05d}-of-{numbered['count']}.safetensors" for number in range(1, count + 1)}
            missing |= every - have
    return sorted(missing)


def _no_weights(path: Path, names: set[str]) -> AppError:
    if any(name.endswith(".gguf") for name in names):
        return AppError("no_weights", f"“{path.name}” holds GGUF files, not safetensors.", "Add the .gguf file itself.")
    if any(name.endswith((".bin", ".pt", ".pth")) for name in names):
        sentence = f"The weights in “{path.name}” are PyTorch checkpoints, which can run code when they are read."
        return AppError("no_weights", sentence, "Download the model as safetensors.")
    return AppError(
        "no_weights", f"“{path.name}” has a {CONFIG}, but no weights.", "Download the model's weight files."
    )


def _has_template(path: Path, names: set[str]) -> bool:
    if "chat_template.jinja" in names or "chat_template.json" in names:
        return True
    if "tokenizer_config.json" not in names:
        return False
    try:
        return bool(read_json(path / "tokenizer_config.json").get("chat_template"))
    except AppError:
        return False


def _writes(model_class: str) -> bool:
    return model_class.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ForImageTextToText"))


def _context(text: Mapping[str, Any]) -> int | None:
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length"):
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_CONTEXT:
            return value
    return None


def _quantization(config: Mapping[str, Any]) -> str | None:
    how = config.get("quantization_config") or text_config(config).get("quantization_config")
    if not isinstance(how, dict):
        return None
    method = str(how.get("quant_method") or how.get("quant_type") or "").lower()
    if method in ("bitsandbytes", "bnb") or how.get("load_in_4bit") or how.get("load_in_8bit"):
        return "BNB-4bit" if how.get("load_in_4bit") else "BNB-8bit"
    word = _WORDS.get(method, method or None)
    bits = _bits(config)
    return f"{word}-{bits}bit" if word in ("AWQ", "GPTQ", "compressed-tensors") and bits else word


def _bits(config: Mapping[str, Any]) -> int | None:
    """Bits of one quantised weight."""
    how = config.get("quantization_config") or text_config(config).get("quantization_config")
    if not isinstance(how, dict):
        return None
    groups = how.get("config_groups")
    if isinstance(groups, dict) and groups:
        first = next(iter(groups.values()))
        how = first.get("weights") if isinstance(first, dict) else {}
    bits = how.get("bits") or how.get("num_bits") or how.get("w_bit") if isinstance(how, dict) else None
    if bits is None and isinstance(how, dict) and how.get("load_in_4bit"):
        return 4
    return bits if isinstance(bits, int) and 1 <= bits <= 16 else None


def _parameters(tensors: Iterable[TensorEntry], bits: int | None) -> int:
    """How many parameters the tensors hold; packed weights hold several in one number."""
    total = 0
    for tensor in tensors:
        if tensor.name.endswith(_HELPERS) or ".quant_state" in tensor.name:
            continue
        stored = tensor.bytes * 8
        packed = tensor.name.endswith(_PACKED) or (tensor.dtype == "U8" and bits == 4)
        if packed and bits:
            total += stored // bits
        else:
            count = 1
            for size in tensor.shape:
                count *= size
            total += count
    return total


def _text(config: Mapping[str, Any], *keys: str) -> str | None:
    for key in keys:
        value = config.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None
