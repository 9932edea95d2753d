"""YAML files as their authors wrote them: every value with its line, comments kept when written back."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from quarterdeck.diagnosis.drift.faults import Fault
from quarterdeck.errors import AppError

MOST_BYTES = 4 * 1024 * 1024
_WIDE = 4096
_DEEPEST = 60


class YamlFile:
    """A file that was read. `root` is None where it is no YAML; `faults` say why, or what is doubtful about it."""

    def __init__(self, text: str, root: Any, faults: list[Fault]) -> None:
        self.text = text
        self.root = root
        self.faults = faults

    @property
    def mapping(self) -> CommentedMap:
        """The whole as a mapping; an empty one where it is none."""
        return self.root if isinstance(self.root, CommentedMap) else CommentedMap()

    def written(self) -> str:
        """The text of `root` as it is now, comments in their places."""
        target = io.StringIO()
        _yaml().dump(self.root, target)
        return target.getvalue()


def read_text(path: Path) -> str:
    """The text of a file (blocking). Raises AppError `file_missing`, `file_unreadable`, `file_too_large`."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise AppError("file_too_large", f"{path} is too large to be a configuration.", "Name another file.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AppError("file_missing", f"{path} is not there.", "Put it back, or name another file.") from None
    except UnicodeDecodeError:
        raise AppError("file_unreadable", f"{path} is no text.", "Name another file.") from None
    except OSError as error:
        raise AppError("file_unreadable", f"{path} cannot be read: {error.strerror}.", "Check its owner.") from None


def read(text: str) -> YamlFile:
    """Read YAML; what is wrong with it stands in its faults."""
    try:
        return YamlFile(text, _yaml().load(text), [])
    except DuplicateKeyError as error:
        fault = Fault(
            _line_of(error),
            "duplicate_key",
            _said(error.problem, "A name is there twice in one section"),
            "Only the last of them would count; keep one.",
        )
        return YamlFile(text, _loaded_anyway(text), [fault])
    except MarkedYAMLError as error:
        said = _said(error.problem, "It is no YAML")
        return YamlFile(text, None, [Fault(_line_of(error), "no_yaml", said, "Check indentation, colons and quotes.")])
    except (YAMLError, RecursionError, ValueError) as error:
        said = _said(str(error), "It is no YAML")
        return YamlFile(text, None, [Fault(0, "no_yaml", said, "Check indentation, colons and quotes.")])


def line_of(holder: Any, key: Any) -> int:
    """The line of a key of a mapping, or of a place in a list, counted from 1; 0 where it is not known."""
    try:
        if isinstance(holder, CommentedMap):
            return int(holder.lc.key(key)[0]) + 1
        if isinstance(holder, CommentedSeq):
            return int(holder.lc.item(key)[0]) + 1
    except (KeyError, TypeError, AttributeError, IndexError):
        pass  # What was put in by a program has no line.
    return 0


def plain(value: Any, depth: int = 0) -> Any:
    """The value without lines and comments; what contains itself ends at a depth."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, depth + 1) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def section(holder: Any, name: str) -> CommentedMap:
    """A mapping inside a mapping; an empty one where there is none."""
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, CommentedMap) else CommentedMap()


def items(holder: Any, name: str) -> CommentedSeq:
    """A list inside a mapping; an empty one where there is none."""
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, CommentedSeq) else CommentedSeq()


def words(value: Any) -> Iterator[tuple[int, str]]:
    """Texts of a list with their lines, or one text alone."""
    if isinstance(value, str):
        yield 0, value
    elif isinstance(value, CommentedSeq):
        for place, each in enumerate(value):
            if isinstance(each, str):
                yield line_of(value, place), each


def header(text: str) -> list[str]:
    """The comment at the head of a file, without its marks."""
    found: list[str] = []
    for line in text.lstrip("\ufeff").splitlines():
        if line.strip() in ("", "---"):
            continue
        if not line.startswith("#"):
            break
        found.append(line.lstrip("#! ").rstrip())
    return found


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDE
    yaml.indent(mapping=2, sequence=4, offset=2)
    # An anchor that is used again is legal, and no matter for a warning of ours.
    yaml.composer.warn_double_anchors = False
    return yaml


def _loaded_anyway(text: str) -> Any:
    yaml = _yaml()
    yaml.allow_duplicate_keys = True
    try:
        return yaml.load(text)
    except (YAMLError, RecursionError, ValueError):
        return None


def _line_of(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return 0 if mark is None else int(mark.line) + 1


def _said(problem: object, otherwise: str) -> str:
    text = " ".join(str(problem or "").split())[:200].rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else f"{otherwise}."
