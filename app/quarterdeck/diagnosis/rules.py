"""The rules of diagnosis: their schema, and reading them from the YAML files beside this module."""

from __future__ import annotations

import logging
import re
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from quarterdeck.diagnosis import remedies
from quarterdeck.diagnosis.matching.literals import SHORTEST, SHORTEST_OF_CONTEXT, shape
from quarterdeck.schemas.diagnosis import RemedyKind
from quarterdeck.schemas.hardware import NvmlState
from quarterdeck.schemas.models import CauseKind

FailureClass = Literal[
    "cuda_oom", "kv_cache_too_small", "gpu_memory_utilization_too_high", "host_oom_killed", "unsupported_architecture",
    "unsupported_quantization", "flash_attention_unavailable", "no_kernel_image", "driver_too_old", "nvml_mismatch",
    "hip_rocm_unsupported_gpu", "wsl_gpu_lost", "create_context_failed", "assertion_failed", "illegal_memory_access",
    "nccl_error", "tool_calling_not_enabled", "tool_parser_unsupported", "chat_template_missing",
    "system_role_unsupported", "context_overflow", "model_not_found", "gated_or_auth_required", "download_failed",
    "corrupt_model_file", "old_gguf_format", "trust_remote_code_required", "missing_dependency", "port_in_use",
    "connection_refused", "timeout_loading", "proxy_buffering_stream_broken", "cors_blocked", "auth_invalid_key",
    "rate_limited", "disk_full", "permission_denied", "multimodal_unsupported", "bad_load_config", "other",
]  # fmt: skip

logger = logging.getLogger(__name__)

FACTS = frozenset({"signal", "exit_code"})


def _pattern(text: str) -> str:
    try:
        shape(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _findable(text: str, least: int = SHORTEST) -> str:
    """A log is searched for fixed words first, so a pattern without one would have to be tried on every line."""
    if shape(_pattern(text)).shortest < least:
        raise ValueError(f"{text!r} has no fixed word of {least} characters in each of its branches")
    return text


def _context(text: str) -> str:
    return _findable(text, SHORTEST_OF_CONTEXT)


def _sentence(text: str) -> str:
    if not text[:1].strip() or text[-1:] not in ".!?":
        raise ValueError("a sentence ends with a full stop")
    return text


Pattern = Annotated[str, Field(min_length=3), AfterValidator(_pattern)]
Line = Annotated[str, Field(min_length=3), AfterValidator(_findable)]
Context = Annotated[str, Field(min_length=3), AfterValidator(_context)]
Sentence = Annotated[str, Field(min_length=10), AfterValidator(_sentence)]


class RemedyRule(BaseModel):
    """A remedy with placeholders in every text. In `patch`, a text that is one placeholder alone becomes a number where
    it reads as one; "{tokens:floor1024}" rounds down to a multiple of 1024 (all steps: diagnosis/remedies.py). It is
    left out where a group was not found or is no number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=3, max_length=120)
    kind: RemedyKind = RemedyKind.ADVICE
    patch: dict[str, JsonValue] | None = None
    command: str | None = None


class Rule(BaseModel):
    """One cause. All conditions that are given must hold; patterns ignore case and look at one line at a time.

    `lines`: one of them is found · `needs`: each is found somewhere · `unless`: none is found anywhere · `reads`: only
    for the numbers and names that remedies take from their groups, wherever they are found · `signals`, `exit_codes`:
    the process ended so (`any` for every one) · `gpu_states`: NVML was so when it ended · `oom_killed`: the system
    killed it for memory · `services`: only in the log of one of these · `fatal`: false for what spoils a request but
    does not end an engine; void when a line of `answered` comes after it · `until_ready`: void when a line of `ready`
    comes after the last of `lines` · `rank`: the highest of those that hold is the cause · `confidence`: how sure it
    is, between 0 and 1 · `seen_with`: versions of engines
    whose words these are · `quote`: add the last telling line of the log to the sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    failure_class: FailureClass = Field(alias="class")
    kind: CauseKind
    rank: int = Field(50, ge=0, le=100)
    confidence: float = Field(0.9, ge=0, le=1)
    services: tuple[str, ...] = ()
    fatal: bool = True
    until_ready: bool = False
    lines: tuple[Line, ...] = ()
    needs: tuple[Context, ...] = ()
    unless: tuple[Context, ...] = ()
    reads: tuple[Context, ...] = ()
    signals: tuple[str, ...] = ()
    gpu_states: tuple[NvmlState, ...] = ()
    exit_codes: tuple[int | Literal["any"], ...] = ()
    oom_killed: bool = False
    title: str = Field(min_length=3, max_length=80)
    sentence: Sentence
    hint: Sentence
    quote: bool = False
    remedies: tuple[RemedyRule, ...] = ()
    known_issue: str | None = None
    seen_with: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        in_lines = [shape(line).groups for line in self.lines]
        sure = FACTS.union(*(shape(text).groups for text in self.needs))
        sure |= frozenset.intersection(*in_lines) if in_lines else frozenset()
        for text in (self.title, self.sentence, self.hint):
            if unknown := remedies.names(text) - sure:
                raise ValueError(f"{self.id}: not every line names {', '.join(sorted(unknown))}")
        possible = sure.union(*in_lines, *(shape(text).groups for text in self.reads))
        for remedy in self.remedies:
            if unknown := remedies.names(remedy.title, remedy.command, remedy.patch) - possible:
                raise ValueError(f"{self.id}: no pattern names {', '.join(sorted(unknown))}")
        return self


class RuleFile(BaseModel):
    """One YAML file: the rules of an engine family, and which of its lines say nothing.

    `benign` lines are passed over, `generic` ones only follow from a cause and are never quoted; `prefixes` are taken
    off a line before it is quoted; `ready` lines show that a server has come up, `answered` ones that it has answered
    a request: what spoils a request is over then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    benign: tuple[Line, ...] = ()
    generic: tuple[Pattern, ...] = ()
    prefixes: tuple[Pattern, ...] = ()
    ready: tuple[Line, ...] = ()
    answered: tuple[Line, ...] = ()
    rules: tuple[Rule, ...]


# The one written in C is ten times as fast; both make plain values only.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RuleError(Exception):
    """A rule file that cannot be used: a defect of the program, found by its tests."""


def parse_rules(name: str, text: str) -> RuleFile:
    """Read one rule file. Raises RuleError naming the file and what is wrong."""
    try:
        return RuleFile.model_validate(yaml.load(text, _Loader))  # noqa: S506 - one of the two safe loaders
    except (yaml.YAMLError, ValidationError) as error:
        raise RuleError(f"{name}: {error}") from error


def shipped_texts() -> dict[str, str]:
    """The rule files beside this module, by name."""
    folder = resources.files("quarterdeck.diagnosis") / "rules"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name: file.read_text(encoding="utf-8") for file in files}


@cache
def rule_files() -> tuple[RuleFile, ...]:
    """All rule files, read once when first needed. One that cannot be used is left out, with an error in our log: the
    others still explain most failures.
    """
    parsed = []
    for name, text in shipped_texts().items():
        try:
            parsed.append(parse_rules(name, text))
        except RuleError:
            logger.exception("A file of diagnosis rules cannot be used")
    return tuple(parsed)
