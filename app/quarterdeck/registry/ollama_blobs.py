"""Finds the files behind an Ollama tag on this machine, so that a model can be looked at without its server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quarterdeck.errors import AppError
from quarterdeck.registry.safetensors_file import is_there, read_json

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_MODEL = "application/vnd.ollama.image.model"
_PROJECTOR = "application/vnd.ollama.image.projector"
_PARAMETERS = "application/vnd.ollama.image.params"


@dataclass(frozen=True)
class OllamaFiles:
    """The files of a tag. `parameters` are those of its Modelfile, such as num_ctx."""

    model: Path
    projector: Path | None
    parameters: Mapping[str, Any]


def ollama_files(tag: str, environment: Mapping[str, str] = os.environ) -> OllamaFiles | None:
    """The files of `tag` (blocking); null when no folder of Ollama on this machine has it, or it cannot be read."""
    for folder in _folders(environment):
        manifest = _manifest(folder, tag)
        try:
            if manifest is not None and is_there(manifest) and (files := _files(folder, manifest)):
                return files
        except AppError:
            continue
    return None


def _folders(environment: Mapping[str, str]) -> Iterable[Path]:
    if named := environment.get("OLLAMA_MODELS"):
        yield Path(named)
    yield Path(os.path.expanduser("~/.ollama/models"))  # noqa: PTH111 (no error for an unknown home)
    yield Path("/usr/share/ollama/.ollama/models")


def _manifest(folder: Path, tag: str) -> Path | None:
    name, _, version = tag.rpartition(":") if ":" in tag.rpartition("/")[2] else (tag, "", _TAG)
    parts = name.split("/")
    if not all(parts) or any(part in (".", "..") for part in (*parts, version)) or len(parts) > 3:
        return None
    return folder.joinpath("manifests", *([_HOST, _NAMESPACE][: 3 - len(parts)]), *parts, version)


def _files(folder: Path, manifest: Path) -> OllamaFiles | None:
    layers = read_json(manifest).get("layers")
    blobs: dict[str, Path] = {}
    for layer in layers if isinstance(layers, list) else ():
        match layer:
            case {"mediaType": str(kind), "digest": str(digest)} if "/" not in digest:
                blobs.setdefault(kind, folder / "blobs" / digest.replace(":", "-"))
    model = blobs.get(_MODEL)
    if model is None or not is_there(model):
        return None
    parameters = blobs.get(_PARAMETERS)
    return OllamaFiles(
        model,
        blobs.get(_PROJECTOR),
        read_json(parameters) if parameters is not None and is_there(parameters) else {},
    )
