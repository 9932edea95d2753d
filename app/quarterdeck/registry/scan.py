"""Finds models on disk: GGUF files and folders of safetensors, in folders and in the caches of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quarterdeck.errors import AppError
from quarterdeck.registry import caches as places
from quarterdeck.registry.facts import file_facts, folder_facts
from quarterdeck.registry.names import LONGEST_NAME
from quarterdeck.registry.parts import read_model
from quarterdeck.registry.safetensors import read_folder
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundModel, PassedOver

DEEPEST = 24
FOLDER, HF_CACHE, LM_STUDIO = "folder", "hf_cache", "lm_studio"

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")
_SAYS_NOTHING = re.compile(r"^(ggml-)?model\b.*|^[iq]+\d(_\w+)?$|^b?f(16|32)$", re.IGNORECASE)
_UNFINISHED = (".part", ".partial", ".incomplete", ".download", ".crdownload", ".tmp", ".aria2")
_SHAPE_FILES = ("config.json", "model.safetensors.index.json", "tokenizer_config.json", "chat_template.jinja")
_UNFINISHED_HINT = "Wait for the download, or start it again."

_Facts = dict[str, Any]


class _Read(NamedTuple):
    """What reading a model came to; neither when it is an addition to a model (projector, adapter)."""

    signature: str
    facts: _Facts | None = None
    error: AppError | None = None


# What was read before, by path: headers of large vocabularies take long, and files rarely change.
_memory: dict[str, _Read] = {}


def find_models(folders: Sequence[Path], *, caches: bool) -> tuple[list[FoundModel], list[PassedOver]]:
    """All models below `folders` and, with `caches`, in the caches of other programs (blocking)."""
    scan = _Scan()
    for folder in folders:
        scan.root(folder, FOLDER, must_exist=True)
    if caches:
        scan.root(places.hugging_face_cache(), HF_CACHE)
        for folder in places.lm_studio_folders():
            scan.root(folder, LM_STUDIO)
    return scan.found, scan.passed_over


def looked_at(folders: Sequence[Path], *, caches: bool) -> set[str]:
    """The folders that such a scan looks through completely (blocking); one that is not there is not among them."""
    wanted = list(folders)
    if caches:
        wanted += [places.hugging_face_cache(), *places.lm_studio_folders()]
    return {os.path.abspath(folder) for folder in wanted if folder.is_dir()}  # noqa: PTH100


def remember(known: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
    """Tell what an earlier run read (path, signature, facts), so that unchanged files are not read again."""
    for path, signature, facts in known:
        _memory.setdefault(path, _Read(signature, dict(facts)))


class _Scan:
    def __init__(self) -> None:
        self.found: list[FoundModel] = []
        self.passed_over: list[PassedOver] = []
        self._seen: set[tuple[int, int]] = set()

    def root(self, folder: Path, source: str, *, must_exist: bool = False) -> None:
        if folder.is_dir():
            self._folder(folder, source, 0)
        elif must_exist:
            self._pass(folder, f"There is no folder “{folder}”.", "Connect its drive, or remove it from the settings.")

    def _folder(self, folder: Path, source: str, depth: int) -> None:
        if not self._is_new(folder) or depth > DEEPEST:
            return
        if places.is_repository(folder):
            self._repository(folder)
            return
        listed = self._list(folder)
        if listed is None or "model_index.json" in listed.files:  # the parts of an image generator
            return
        self._models(folder, listed.files, source)
        for name in listed.folders:
            self._folder(folder / name, source, depth + 1)

    def _models(self, folder: Path, files: Mapping[str, os.stat_result], source: str, repository: str = "") -> None:
        for name in sorted(files):
            if name.lower().endswith(".gguf"):
                self._file(folder, name, files, source, repository)
            elif ".gguf" in name.lower() and name.lower().endswith(_UNFINISHED):
                self._pass(folder / name, f"The download of “{name}” is not finished.", _UNFINISHED_HINT)
        if "config.json" in files and any(name.endswith((".safetensors", ".safetensors.index.json")) for name in files):
            self._safetensors(folder, files, source, repository)

    def _file(self, folder: Path, name: str, files: Mapping[str, os.stat_result], source: str, repository: str) -> None:
        path, stem = folder / name, name[: -len(".gguf")]
        part = _PART.match(stem)
        if part and int(part["number"]) > 1:
            first = f"{part['stem']}-00001-of-{part['count']}.gguf"
            if first not in files and int(part["number"]) == _lowest_part(part, files):
                self._pass(path, f"The first part of this model, “{first}”, is missing.", "Download it again.")
            return
        stats = [files[each] for each in files if part and each.startswith(f"{part['stem']}-")] or [files[name]]
        read = _read(path, _signature(stats), lambda: file_facts(read_model(path)))
        self._take(path, read, source, _file_name(folder, part["stem"] if part else stem, repository), repository)

    def _safetensors(self, folder: Path, files: Mapping[str, os.stat_result], source: str, repository: str) -> None:
        stats = [stat for name, stat in files.items() if name.endswith(".safetensors") or name in _SHAPE_FILES]
        read = _read(folder, _signature(stats), lambda: folder_facts(read_folder(folder)))
        self._take(folder, read, source, repository or folder.name, repository)

    def _repository(self, folder: Path) -> None:
        name, state = places.repository_name(folder), places.snapshot(folder)
        before = len(self.found), len(self.passed_over)
        if state is not None:
            for below, files in self._below(state, 0):
                self._models(below, files, HF_CACHE, name)
        nothing_good = len(self.found) == before[0]
        if places.is_incomplete(folder) and nothing_good:
            del self.passed_over[before[1] :]
            self._pass(folder, f"The download of “{name}” is not finished.", _UNFINISHED_HINT)

    def _below(self, folder: Path, depth: int) -> Iterator[tuple[Path, dict[str, os.stat_result]]]:
        listed = self._list(folder) if depth <= DEEPEST and self._is_new(folder) else None
        if listed is None or "model_index.json" in listed.files:
            return
        yield folder, listed.files
        for name in listed.folders:
            yield from self._below(folder / name, depth + 1)

    def _take(self, path: Path, read: _Read, source: str, name: str, repository: str) -> None:
        if read.error is not None:
            self._pass(path, read.error.sentence, read.error.hint)
        if read.facts is None:
            return
        is_file = read.facts.get("format") == "gguf"
        self.found.append(
            FoundModel(
                name="".join(sign for sign in name if sign.isprintable()).strip()[:LONGEST_NAME] or "model",
                source=source,
                backend=BackendKind.EMBEDDED if is_file else BackendKind.VLLM,
                path=str(path),
                hf_path=(f"{repository}/{path.name}" if is_file else repository) if repository else None,
                digest=_digest(path) if repository and is_file else None,
                signature=read.signature,
                **read.facts,
            )
        )

    def _list(self, folder: Path) -> _Listed | None:
        files: dict[str, os.stat_result] = {}
        folders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        if not entry.name.startswith("."):
                            folders.append(entry.name)
                    elif _may_matter(entry.name):
                        self._add(entry, files)
        except OSError as error:
            why = error.strerror or str(error)
            self._pass(folder, f"“{folder}” cannot be looked into: {why}.", "Check who owns it and its permissions.")
            return None
        return _Listed(files, sorted(folders))

    def _add(self, entry: os.DirEntry[str], files: dict[str, os.stat_result]) -> None:
        try:
            files[entry.name] = entry.stat()
        except OSError:
            where = Path(entry.path)
            if entry.name.lower().endswith(".gguf"):
                self._pass(where, f"“{entry.name}” is a link to a file that is not there.", "Download the file again.")

    def _is_new(self, folder: Path) -> bool:
        """Whether this folder was not looked at before, under whatever name; links may lead in circles."""
        try:
            stat = folder.stat()
        except OSError:
            return True
        key = (stat.st_dev, stat.st_ino)
        known = key in self._seen
        self._seen.add(key)
        return not known

    def _pass(self, where: Path, reason: str, hint: str) -> None:
        self.passed_over.append(PassedOver(where=str(where), reason=reason, hint=hint))


class _Listed(NamedTuple):
    files: dict[str, os.stat_result]
    folders: list[str]


def _read(path: Path, signature: str, read: Callable[[], _Facts]) -> _Read:
    """The facts of a model, from memory when its files are as they were."""
    known = _memory.get(str(path))
    if known is None or known.signature != signature:
        try:
            known = _Read(signature, read())
        except AppError as error:
            known = _Read(signature, error=None if error.code == "not_a_model" else error)
        _memory[str(path)] = known
    return known


def _signature(stats: Iterable[os.stat_result]) -> str:
    sizes, times = zip(*((stat.st_size, stat.st_mtime_ns) for stat in stats), strict=True)
    return f"{len(sizes)}-{sum(sizes)}-{max(times)}"


def _file_name(folder: Path, stem: str, repository: str) -> str:
    """What to call a file: its own name, or that of its folder where its own says nothing."""
    if not _SAYS_NOTHING.match(stem):
        return stem
    above = repository.rpartition("/")[2] or folder.name
    return above if stem.lower() in ("model", "ggml-model") else f"{above}-{stem}"


def _lowest_part(part: re.Match[str], files: Mapping[str, object]) -> int:
    others = (_PART.match(name[: -len(".gguf")]) for name in files if name.startswith(f"{part['stem']}-"))
    return min(int(other["number"]) for other in others if other and other["stem"] == part["stem"])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _may_matter(name: str) -> bool:
    return name.endswith((".safetensors", ".json", ".jinja")) or ".gguf" in name.lower()


def _digest(path: Path) -> str | None:
    """The hash under which the Hugging Face cache keeps a large file."""
    try:
        name = path.readlink().name
    except OSError:
        return None
    return f"sha256:{name}" if re.fullmatch(r"[0-9a-f]{64}", name) else None
