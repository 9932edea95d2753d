"""Several gateway configurations as one: merged, or a base with overlays from which a file is made."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from quarterdeck.diagnosis.drift.gateway import FALLBACKS
from quarterdeck.diagnosis.drift.yaml_file import YamlFile, plain, read

_SOURCES = re.compile(r"^# quarterdeck: base=(?P<base>.+?) overlay=(?P<overlay>.+?) sum=(?P<sum>[0-9a-f]{16})$", re.M)
_SEPARATE = re.compile(r"^# quarterdeck: kept separate from (?P<other>.+)$", re.M)
_MERGED = re.compile(r"^# quarterdeck: merged from (?P<other>.+?) sum=(?P<sum>[0-9a-f]{16})\n", re.M)
_MODELS = "model_list"


class Made(NamedTuple):
    """What a made file says of itself; `sum` is that of its text as it was written."""

    base: Path
    overlay: Path
    sum: str


def made_from(text: str) -> Made | None:
    """From what a file was made; None for one that a person wrote."""
    match = _SOURCES.search(text)
    return None if match is None else Made(Path(match["base"]), Path(match["overlay"]), match["sum"])


def edited_by_hand(text: str) -> bool:
    """Whether a made file was changed after it was written."""
    made = made_from(text)
    return made is not None and made.sum != _sum(_body(text))


def separate_from(text: str) -> set[str]:
    """The files from which a person keeps this one apart on purpose."""
    return {match["other"].strip() for match in _SEPARATE.finditer(text)}


def marked_separate(text: str, other: Path) -> str:
    """The file with the remark that it is kept apart."""
    if str(other) in separate_from(text):
        return text
    return f"# quarterdeck: kept separate from {other}\n{text}"


def has_merged(text: str, other: str, path: Path) -> bool:
    """Whether the file at `path`, as it is now, was merged into this one."""
    return any((match["other"], match["sum"]) == (str(path), _sum(other)) for match in _MERGED.finditer(text))


def merged(text: str, other: str, path: Path) -> str:
    """`text` with what it lacks from `other`, the file at `path`; where both speak, `text` wins. Its comments stay.

    A remark at the head says what was merged, so that a later change of `other` is seen.
    """
    text = _MERGED.sub(lambda match: "" if match["other"] == str(path) else match.group(), text)
    target, source = read(text), read(other)
    root = target.mapping
    _add_models(root, source.mapping, replace=False)
    for key, value in source.mapping.items():
        if key != _MODELS:
            _add(root, key, value, replace=False)
    return f"# quarterdeck: merged from {path} sum={_sum(other)}\n{YamlFile(text, root, []).written()}"


def composed(base: str, overlay: str, base_path: Path, overlay_path: Path) -> str:
    """The file that a gateway is started with: `base`, in which `overlay` wins."""
    target, source = read(base), read(overlay)
    root = target.mapping
    _add_models(root, source.mapping, replace=True)
    for key, value in source.mapping.items():
        if key != _MODELS:
            _add(root, key, value, replace=True)
    body = YamlFile(base, root, []).written()
    return (
        f"# Made by Quarterdeck from a base and an overlay. Change those two, not this file.\n"
        f"# quarterdeck: base={base_path} overlay={overlay_path} sum={_sum(body)}\n{body}"
    )


def overlay_of(text: str, base: str) -> str:
    """What `text` says otherwise than `base`, as an overlay; comments inside its entries stay."""
    own, common = read(text).mapping, read(base).mapping
    found = CommentedMap()
    for key, value in own.items():
        if key == _MODELS:
            entries = CommentedSeq(each for each in value or [] if plain(each) not in _entries(common))
            if entries:
                found[key] = entries
        elif (rest := _rest(value, common.get(key))) is not None:
            found[key] = rest
    head = "# What this gateway has otherwise than its base.\n"
    return head + (YamlFile("", found, []).written() if found else "{}\n")


def _rest(value: Any, common: Any) -> Any:
    """What of `value` the base lacks or has otherwise; None when there is nothing."""
    if plain(value) == plain(common):
        return None
    if not isinstance(value, Mapping) or not isinstance(common, Mapping):
        return value
    return CommentedMap({key: each for key, each in value.items() if plain(each) != plain(common.get(key))})


def _entries(root: Mapping[str, Any]) -> list[Any]:
    listed = root.get(_MODELS)
    return [plain(each) for each in listed] if isinstance(listed, list) else []


def _add_models(root: CommentedMap, source: CommentedMap, *, replace: bool) -> None:
    """A name may stand for several servers: all entries of a name are taken from one of the files."""
    new = source.get(_MODELS)
    if not isinstance(new, list):
        return
    old = root.get(_MODELS)
    if not isinstance(old, list):
        root[_MODELS] = old = CommentedSeq()
    mine = {_name(each) for each in old}
    theirs = {_name(each) for each in new}
    if replace:
        for place in reversed([place for place, each in enumerate(old) if _name(each) in theirs]):
            del old[place]
        mine -= theirs
    old.extend(copy.deepcopy(each) for each in new if _name(each) not in mine)


def _add(holder: Any, key: str, value: Any, *, replace: bool) -> None:
    """Put a value into a mapping; sections are joined, lists of fallbacks model by model."""
    mine = holder.get(key)
    if key not in holder:
        holder[key] = copy.deepcopy(value)
    elif isinstance(mine, Mapping) and isinstance(value, Mapping):
        for name, each in value.items():
            _add(mine, name, each, replace=replace)
    elif key in FALLBACKS and isinstance(mine, list) and isinstance(value, list):
        holder[key] = _chains(mine, value, replace=replace)
    elif replace:
        holder[key] = copy.deepcopy(value)


def _chains(mine: list[Any], theirs: list[Any], *, replace: bool) -> CommentedSeq:
    first, second = (theirs, mine) if replace else (mine, theirs)
    heads = {name for each in first if isinstance(each, Mapping) for name in each}
    kept = [each for each in second if not (isinstance(each, Mapping) and heads & set(each)) and each not in first]
    joined = [*kept, *theirs] if replace else [*mine, *kept]
    return CommentedSeq(copy.deepcopy(each) for each in joined)


def _name(entry: Any) -> str:
    return str(entry.get("model_name", "")) if isinstance(entry, Mapping) else ""


def _body(text: str) -> str:
    match = _SOURCES.search(text)
    return text if match is None else text[match.end() + 1 :]


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
