"""The configuration files one by one: what they are, who uses them and in which state they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.diagnosis.drift import gateway_checks, git, layers, mapping_checks
from quarterdeck.diagnosis.drift.facts import Facts, FileFact, ServerFact
from quarterdeck.diagnosis.drift.faults import Fault, warning
from quarterdeck.diagnosis.drift.gateway import Entry, Gateway, backend, is_gateway, of_file, read_gateway
from quarterdeck.diagnosis.drift.git import GitFile, GitState
from quarterdeck.diagnosis.drift.yaml_file import YamlFile, header, plain, read, read_text
from quarterdeck.errors import AppError
from quarterdeck.schemas.report import ConfigFileView, FileState

GATEWAY = "LiteLLM configuration"
MAPPING = "sources of a gateway's configuration"
OTHER = "configuration"
_UNUSABLE = frozenset({"no_yaml", "empty", "no_models"})
_NEIGHBOURS = ("providers.yaml", "providers.yml", "model-mappings.yaml", "model-mappings.yml")
_KINDS = {"ollama": "Ollama", "vllm": "vLLM", "llama-server": "llama.cpp", "embedded": "llama.cpp"}
_SLACK_S = 1.0
_SHORT_TIMEOUT_S = 15
_MOST_HEADER = 120


@dataclass
class ConfigFile:
    """A file as it was read just now. `sources` are the files that it was made from.

    `used_by` names its users for people, `rests` says that none of them runs, and `since_commit` what is otherwise
    than in the last commit.
    """

    path: Path
    fact: FileFact
    text: str = ""
    kind: str = OTHER
    yaml: YamlFile | None = None
    gateway: Gateway | None = None
    faults: list[Fault] = field(default_factory=list)
    git: GitFile = field(default_factory=lambda: GitFile(GitState.NONE))
    modified_at: float | None = None
    states: list[FileState] = field(default_factory=list)
    sources: tuple[Path, ...] = ()
    used_by: str = ""
    rests: bool = False
    since_commit: str = ""

    @property
    def active(self) -> bool:
        return FileState.ACTIVE in self.states

    @property
    def usable(self) -> bool:
        return FileState.INVALID not in self.states and FileState.MISSING not in self.states


async def look(facts: Facts) -> list[ConfigFile]:
    """All known files and the sources beside them, in the order of their paths."""
    known = await asyncio.to_thread(_with_neighbours, facts.files)
    files = list(await asyncio.gather(*(_read(fact) for fact in known)))
    _check(files)
    for file in files:
        file.states = _states(file, files, facts)
        users = [server for name in file.fact.users if (server := facts.server(name))]
        file.used_by = " and ".join(_called(server, facts) for server in users) or "the gateway"
        file.rests = bool(users) and not any(server.up for server in users)
    return sorted(files, key=lambda file: str(file.path))


def view(file: ConfigFile, facts: Facts) -> ConfigFileView:
    """The file for people."""
    return ConfigFileView(
        path=str(file.path),
        kind=file.kind,
        size_bytes=len(file.text.encode()),
        lines=len(file.text.splitlines()),
        models=file.gateway.names if file.gateway else [],
        purpose=purpose(file, facts),
        states=file.states,
        users=[_user(name, facts.server(name)) for name in file.fact.users],
        modified_at=datetime.fromtimestamp(file.modified_at, UTC) if file.modified_at is not None else None,
        git="; ".join(words for words in (_git_words(file.git), file.since_commit) if words),
        faults=[str(fault) for fault in file.faults],
    )


def purpose(file: ConfigFile, facts: Facts) -> str:
    """What the file is for: the comment at its head, and what follows from its content."""
    said = next((line for line in header(file.text) if _telling(line)), "")[:_MOST_HEADER]
    if file.gateway is None or not file.gateway.entries:
        return said
    count = len(file.gateway.names)
    behind = dict.fromkeys(_backend(entry, facts) for entry in file.gateway.entries)
    words = f"{count} {'model' if count == 1 else 'models'} on {', '.join(behind)}"
    if _fails_fast(file.gateway):
        words += "; fails fast (short time limit, no second try)"
    return f"{said.rstrip('.')}. {words}" if said else words


def _backend(entry: Entry, facts: Facts) -> str:
    server = facts.server_at(entry.address) if entry.address else None
    return _KINDS.get(server.kind, backend(entry)) if server is not None else backend(entry)


def _since_commit(file: ConfigFile, before: str) -> str:
    """Which models and sections of a gateway's configuration are new, gone or otherwise than they were."""
    assert file.gateway is not None
    old, new = read_gateway(before), file.gateway
    was = {name: [each for each in old.entries if each.name == name] for name in old.names}
    now = {name: [each for each in new.entries if each.name == name] for name in new.names}
    same = {name for name in was.keys() & now.keys() if len(was[name]) == len(now[name])
            and all(one.same(other) for one, other in zip(was[name], now[name], strict=True))}  # fmt: skip
    rest = {key for key in old.file.mapping.keys() | new.file.mapping.keys() if key != "model_list"
            and plain(old.file.mapping.get(key)) != plain(new.file.mapping.get(key))}  # fmt: skip
    told = {
        "new": [name for name in now if name not in was],
        "gone": [name for name in was if name not in now],
        "changed": [*(name for name in now if name in was and name not in same), *sorted(map(str, rest))],
    }
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in told.items() if names)


def _called(server: ServerFact, facts: Facts) -> str:
    """A server's title, where there is no other with the same; else its name."""
    alike = sum(each.title == server.title for each in facts.servers)
    return server.title if alike == 1 else server.name


def _telling(line: str) -> bool:
    return bool(line) and any(letter.isalpha() for letter in line) and not line.startswith("quarterdeck:")


def _fails_fast(gateway: Gateway) -> bool:
    for entry in gateway.entries:
        timeout, tries = entry.params.get("timeout"), entry.params.get("max_retries", entry.params.get("num_retries"))
        if not isinstance(timeout, int | float) or timeout > _SHORT_TIMEOUT_S or tries != 0:
            return False
    return bool(gateway.entries)


def _with_neighbours(facts: Iterable[FileFact]) -> list[FileFact]:
    """The files that were named, and the sources that lie beside them (blocking)."""
    known = {Path(fact.path): fact for fact in facts}
    for folder in {path.parent for path in known}:
        for name in _NEIGHBOURS:
            path = folder / name
            if path not in known and path.is_file():
                known[path] = FileFact(str(path))
    for path in list(known):
        for source in _sources_of(path):
            known.setdefault(source, FileFact(str(source)))
    return list(known.values())


def _sources_of(path: Path) -> list[Path]:
    try:
        made = layers.made_from(read_text(path))
    except AppError:
        return []
    return [] if made is None else [made.base, made.overlay]


async def _read(fact: FileFact) -> ConfigFile:
    file = ConfigFile(Path(fact.path), fact)
    try:
        file.text = await asyncio.to_thread(read_text, file.path)
        file.modified_at = (await asyncio.to_thread(file.path.stat)).st_mtime
    except AppError as error:
        file.faults = [Fault(0, error.code, error.sentence, error.hint)]
        return file
    except OSError:
        file.faults = [Fault(0, "file_missing", f"{file.path} is not there.")]
        return file
    file.yaml = await asyncio.to_thread(read, file.text)
    if is_gateway(file.yaml) or fact.users or fact.declared_active:
        file.kind, file.gateway = GATEWAY, of_file(file.yaml)
    elif mapping_checks.is_mapping(file.yaml):
        file.kind = MAPPING
    made = layers.made_from(file.text)
    file.sources = (made.base, made.overlay) if made else ()
    file.git = await git.state_of(file.path)
    if file.gateway is not None and file.git.uncommitted and (before := await git.head(file.path)) is not None:
        file.since_commit = await asyncio.to_thread(_since_commit, file, before)
    return file


def _check(files: Sequence[ConfigFile]) -> None:
    mappings = [file for file in files if file.kind == MAPPING and file.yaml is not None]
    for file in files:
        if file.yaml is None:
            continue
        file.faults = sorted(file.yaml.faults)
        if file.gateway is not None:
            file.faults = gateway_checks.check(file.gateway)
        elif file.kind == MAPPING:
            beside = [other.yaml for other in mappings if other is not file and other.path.parent == file.path.parent]
            made = next((other.gateway for other in files if other.gateway and _is_made_from(other, file)), None)
            file.faults = mapping_checks.check(file.yaml, beside=[each for each in beside if each], gateway=made)
        if layers.edited_by_hand(file.text):
            file.faults.append(
                warning(
                    0,
                    "edited",
                    "It was made from a base and an overlay, and changed by hand since.",
                    "Put the change into the overlay, and make the file again.",
                )
            )


def _is_made_from(gateway: ConfigFile, source: ConfigFile) -> bool:
    """Whether a gateway's file is generated from the sources beside it."""
    return gateway.path.parent == source.path.parent and _is_generated(gateway)


def _is_generated(file: ConfigFile) -> bool:
    return "generated" in " ".join(header(file.text)).lower()


def _states(file: ConfigFile, files: Sequence[ConfigFile], facts: Facts) -> list[FileState]:
    codes = {fault.code for fault in file.faults}
    if "file_missing" in codes:
        return [FileState.MISSING, *([FileState.ACTIVE] if file.fact.users else [])]
    states: list[FileState] = []
    users = [server for name in file.fact.users if (server := facts.server(name))]
    changed = any(_started_before(server, file) for server in users)
    if users or file.fact.declared_active:
        states.append(FileState.ACTIVE)
        if any(server.up for server in users) and not changed:
            states.append(FileState.DEPLOYED)
    elif file.gateway is not None:
        states.append(FileState.DEPLOYED if _is_contained(file, files) else FileState.NOT_DEPLOYED)
    if changed or file.git.state in (GitState.MODIFIED, GitState.STAGED):
        states.append(FileState.MODIFIED)
    if file.git.uncommitted:
        states.append(FileState.UNCOMMITTED)
    if _is_stale(file, files):
        states.append(FileState.STALE)
    if codes & _UNUSABLE or file.yaml is None:
        states.append(FileState.INVALID)
    return states


def _started_before(server: ServerFact, file: ConfigFile) -> bool:
    """Whether the server runs with an earlier version of the file."""
    if not server.up or server.started_at is None or file.modified_at is None:
        return False
    return file.modified_at > server.started_at + _SLACK_S


def _is_contained(file: ConfigFile, files: Sequence[ConfigFile]) -> bool:
    """Whether everything in the file is also in one that a server uses: it was merged, or is the base of it."""
    assert file.gateway is not None
    entries = file.gateway.entries
    for other in files:
        if other is file or other.gateway is None or not (other.fact.users or other.fact.declared_active):
            continue
        if file.path in other.sources or layers.has_merged(other.text, file.text, file.path):
            return True
        if entries and all(any(entry.same(each) for each in other.gateway.entries) for entry in entries):
            return True
    return False


def _is_stale(file: ConfigFile, files: Sequence[ConfigFile]) -> bool:
    """Whether the file was made from sources that have changed since."""
    by_path = {other.path: other for other in files}
    if file.sources:
        base, overlay = (by_path.get(path) for path in file.sources)
        if base is None or overlay is None or not base.usable or not overlay.usable:
            return False
        return layers.composed(base.text, overlay.text, *file.sources) != file.text
    if file.gateway is None or file.modified_at is None or not _is_generated(file):
        return False
    newest = [
        other.modified_at
        for other in files
        if other.kind == MAPPING and other.path.parent == file.path.parent and other.modified_at is not None
    ]
    return bool(newest) and max(newest) > file.modified_at + _SLACK_S


def _user(name: str, server: ServerFact | None) -> str:
    return name if server is None or server.up else f"{name} ({server.state})"


def _git_words(state: GitFile) -> str:
    words = {
        GitState.NONE: "",
        GitState.CLEAN: "committed",
        GitState.MODIFIED: "changed since the last commit",
        GitState.STAGED: "added, not committed",
        GitState.UNTRACKED: "never committed",
        GitState.IGNORED: "ignored by git",
    }[state.state]
    return f"{words} ({state.last})" if words and state.last else words
