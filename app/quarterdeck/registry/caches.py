"""Where other programs keep models: the Hugging Face cache and LM Studio's folder. Blocking."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_REPOSITORY = "models--"


def hugging_face_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the Hugging Face cache, whether it exists or not."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return _path(environment[name])
    if environment.get("HF_HOME"):
        return _path(environment["HF_HOME"]) / "hub"
    return _path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def lm_studio_folders() -> list[Path]:
    """The folders in which LM Studio keeps models, as far as they exist."""
    places = [_path("~/.lmstudio/models"), _path("~/.cache/lm-studio/models")]
    for settings in (_path("~/.lmstudio/settings.json"), _path("~/.cache/lm-studio/settings.json")):
        try:
            chosen = json.loads(settings.read_text(encoding="utf-8")).get("downloadsFolder")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(chosen, str) and chosen.strip():
            places.append(_path(chosen))
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def is_repository(folder: Path) -> bool:
    """Whether `folder` is one repository of a Hugging Face cache."""
    return folder.name.startswith(_REPOSITORY) and (folder / "snapshots").is_dir()


def repository_name(folder: Path) -> str:
    """What Hugging Face calls the repository: organisation/name."""
    return folder.name.removeprefix(_REPOSITORY).replace("--", "/", 1)


def snapshot(folder: Path) -> Path | None:
    """The newest downloaded state of a repository: that of its main branch, else the one that changed last."""
    try:
        revision = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        revision = ""
    named = folder / "snapshots" / revision
    if revision and "/" not in revision and named.is_dir():
        return named
    try:
        states = [(each.stat().st_mtime, each) for each in (folder / "snapshots").iterdir() if each.is_dir()]
    except OSError:
        return None
    return max(states)[1] if states else None


def is_incomplete(folder: Path) -> bool:
    """Whether a download into the repository was begun and not finished."""
    try:
        return any(name.endswith(".incomplete") for name in os.listdir(folder / "blobs"))  # noqa: PTH208 (names only)
    except OSError:
        return False


def cached_model(name: str, cache_location: str | None = None) -> Path | None:
    """The model that Hugging Face calls `name`, when it is in the cache: organisation/name, or with a file behind."""
    parts = [part for part in name.strip("/").split("/") if part]
    if len(parts) < 2 or any(part in (".", "..") or "\0" in part for part in parts):
        return None
    caches = [_path(cache_location)] if cache_location and cache_location.strip() else []
    for cache in (*caches, hugging_face_cache()):
        state = snapshot(cache / f"{_REPOSITORY}{parts[0]}--{parts[1]}")
        if state is None:
            continue
        found = state.joinpath(*parts[2:])
        if len(parts) > 2:
            return found if found.is_file() else None
        return state if (state / "config.json").is_file() else next(_single(state), None)
    return None


def _single(state: Path) -> Iterator[Path]:
    """The only GGUF file of a repository."""
    files = sorted(state.glob("*.gguf"))
    if len(files) == 1:
        yield files[0]


def _path(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text.strip())))  # noqa: PTH100, PTH111 (no error for an unknown ~user)
