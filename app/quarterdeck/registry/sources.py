"""Where a new model comes from: which engine fits its files or its server. Blocking parts run in a thread."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from quarterdeck.errors import AppError
from quarterdeck.registry.caches import cached_model
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelCreate

EMBEDDED = BackendKind.EMBEDDED.value
VLLM = BackendKind.VLLM.value
OPENAI_COMPATIBLE = BackendKind.OPENAI_COMPATIBLE.value

READS_FILES = (EMBEDDED, BackendKind.LLAMA_SERVER.value)
READS_FOLDERS = (VLLM,)


def server_address(new: ModelCreate) -> str | None:
    """The address that was given, if the model is on a server. Raises AppError `bad_source`."""
    if new.url is None:
        return None
    if new.path is not None or not new.url.strip():
        raise AppError(
            "bad_source",
            "A model is either a local file or a running server.",
            "Give a path or an address, not both.",
        )
    return new.url.strip()


def known_backend(backend: str, known: Collection[str]) -> str:
    """Raises AppError `unknown_backend`."""
    if backend not in known:
        raise AppError(
            "unknown_backend",
            f"There is no backend named “{backend}”.",
            f"Choose one of these: {', '.join(known)}.",
        )
    return backend


def check_server_backend(backend: str) -> None:
    """Raises AppError `bad_source` when `backend` cannot use a running server."""
    if backend == EMBEDDED:
        raise AppError(
            "bad_source",
            "The embedded engine loads files; it cannot use a running server.",
            "Give the path of a .gguf file, or choose another backend.",
        )


def backend_for(path: Path, wanted: str) -> str:
    """The engine for the model at `path` (blocking); `wanted` may be empty. Raises AppError `bad_source`."""
    is_folder = path.is_dir()
    if not wanted:
        return VLLM if is_folder else EMBEDDED
    if wanted not in READS_FILES + READS_FOLDERS:
        raise AppError(
            "bad_source",
            f"“{wanted}” is a server that has its models itself; it loads no file of yours.",
            "Give the address of the server instead of a path.",
        )
    if is_folder and wanted in READS_FILES and _has_config(path):
        raise AppError(
            "bad_source",
            f"“{path.name}” is a folder of safetensors, and llama.cpp reads GGUF files.",
            "Choose vLLM as backend, or download the model as GGUF.",
        )
    if not is_folder and wanted in READS_FOLDERS and path.suffix.lower() == ".gguf":
        raise AppError(
            "bad_source",
            f"“{path.name}” is a GGUF file, and vLLM reads folders of safetensors.",
            "Choose the built-in engine or llama-server as backend, or download the model as safetensors.",
        )
    return wanted


def local_path(new: ModelCreate) -> Path:
    """The absolute path of the file or folder that is meant (blocking). Raises AppError."""
    if new.path is not None and new.path.strip():
        return absolute(new.path)
    if new.hf_path is None or not new.hf_path.strip():
        raise AppError("bad_source", "Neither a file nor a server was given.", "Give the path of a .gguf file.")
    local = absolute(new.hf_path)
    if os.path.exists(local):  # noqa: PTH110 (no error for an impossible path)
        return local
    cached = cached_model(new.hf_path.strip(), new.cache_location)
    if cached is None:
        raise AppError(
            "download_unsupported",
            f"“{new.hf_path.strip()}” is not a local file, and downloading models is not yet possible.",
            "Download the model yourself, then give its path.",
        )
    return cached


def absolute(text: str) -> Path:
    """`text` as an absolute path; links are kept, because caches store files under names that say nothing."""
    return Path(os.path.abspath(os.path.expanduser(text.strip())))  # noqa: PTH100, PTH111 (no error for an unknown ~user)


def _has_config(path: Path) -> bool:
    return (path / "config.json").is_file()
