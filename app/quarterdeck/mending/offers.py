"""From what a diagnosis advises to fixes that can be carried out here, for this model and with its engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from quarterdeck.backends.options import EXTRA_ARGS
from quarterdeck.backends.vllm_tools import suggest_tool_flags
from quarterdeck.errors import AppError
from quarterdeck.mending.configs import merged
from quarterdeck.scheduling.estimates import Estimator
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.diagnosis import Remedy, RemedyKind
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.problems import Fix, FixKind, ProblemView
from quarterdeck.settings import Settings

CONTEXT: dict[str, str] = {
    BackendKind.EMBEDDED: "n_ctx",
    BackendKind.LLAMA_SERVER: "n_ctx",
    BackendKind.OLLAMA: "num_ctx",
    BackendKind.VLLM: "max_model_len",
}
"""The option for the context length, per engine."""
LEAST_CONTEXT = 512
WHOLE_CONTEXT = 256
"""Contexts are offered in whole multiples of this many tokens."""
LONGER = 2
TOOLS = frozenset({"tool_calling_not_enabled", "tool_parser_unsupported"})
SHORT_OF_MEMORY = frozenset(
    {"cuda_oom", "kv_cache_too_small", "gpu_memory_utilization_too_high", "host_oom_killed", "create_context_failed"}
)


class Offers:
    """Puts fixes, commands and advice on a problem with a model. Core loop only."""

    def __init__(self, scheduler: Scheduler, estimator: Estimator, settings: Callable[[], Settings]) -> None:
        self._scheduler = scheduler
        self._estimator = estimator
        self._settings = settings

    async def put(self, problem: ProblemView, view: ModelView, remedies: Iterable[Remedy]) -> None:
        """Remedies that the engine of this model refuses, or that change nothing, stay advice."""
        for remedy in remedies:
            self._take(problem, view, remedy)
        usual = list(self._usual(problem, view))
        if problem.failure_class in SHORT_OF_MEMORY:
            usual += await self._smaller_context(view)
        for fix in usual:
            if not any(each.kind is fix.kind and each.patch.keys() == fix.patch.keys() for each in problem.fixes):
                problem.fixes.append(fix)
        for number, fix in enumerate(problem.fixes):
            fix.id = str(number)

    def _take(self, problem: ProblemView, view: ModelView, remedy: Remedy) -> None:
        patch = self._possible(view, remedy.patch or {})
        if patch and all(value is None for value in patch.values()) and not self._fits(view, patch):
            return  # It takes away what is not there.
        if remedy.kind is RemedyKind.LOAD_CONFIG and self._fits(view, patch):
            problem.fixes.append(_load_config(view, remedy.title, patch))
        elif remedy.kind is RemedyKind.SETTING and patch and patch.keys() <= Settings.model_fields.keys():
            fix = Fix(
                id="", kind=FixKind.SETTING, title=remedy.title, target=view.name, patch=patch, retries=not view.loaded
            )
            problem.fixes.append(fix)
        elif remedy.command:
            problem.commands.append(remedy.command)
            problem.advice.append(remedy.title)
        else:
            problem.advice.append(remedy.title)

    def _fits(self, view: ModelView, patch: dict[str, Any]) -> bool:
        backend = self._scheduler.backends.get(view.backend)
        # What somebody else started has its options from there; Ollama takes them with each model.
        if backend is None or not patch or (view.url and backend.kind is not BackendKind.OLLAMA):
            return False
        before = parse_load_config(view.load_config)
        after = merged(backend.options, before, patch)
        try:
            backend.check_config(after)
        except AppError:
            return False
        return after != before

    def _possible(self, view: ModelView, patch: dict[str, Any]) -> dict[str, Any]:
        """No more context than the model was made for."""
        option = CONTEXT.get(view.backend)
        wanted, most = patch.get(option or ""), view.context_length
        too_much = isinstance(wanted, int) and most is not None and wanted > most
        return {**patch, option: most} if option and too_much else patch

    def _usual(self, problem: ProblemView, view: ModelView) -> Iterable[Fix]:
        failure_class = problem.failure_class
        yield from self._without_files(view, problem)
        if failure_class in SHORT_OF_MEMORY:
            yield from self._memory(view)
        elif failure_class in TOOLS and view.backend == BackendKind.VLLM:
            flags = suggest_tool_flags(
                view.architecture, view.hf_path, view.name, view.served_name, Path(view.path or "").name
            )
            if flags.get("tool_call_parser") and self._fits(view, flags):
                yield _load_config(view, f"Turn tool calling on (parser “{flags['tool_call_parser']}”)", flags)
        elif failure_class == "bad_load_config":
            yield from self._without_options(view, problem)
        elif failure_class == "port_in_use" and view.backend == BackendKind.VLLM and self._settings().vllm_single_port:
            anywhere: dict[str, Any] = {"vllm_single_port": False}
            title = "Start vLLM on any free port"
            yield Fix(id="", kind=FixKind.SETTING, title=title, target=view.name, patch=anywhere, retries=True)
        elif failure_class == "timeout_loading":
            limit = self._settings().load_timeout * LONGER
            title = f"Give loads {limit} seconds"
            patch: dict[str, Any] = {"load_timeout": limit}
            yield Fix(id="", kind=FixKind.SETTING, title=title, target=view.name, patch=patch, retries=True)

    def _without_files(self, view: ModelView, problem: ProblemView) -> Iterable[Fix]:
        """Options that name a file which the engine complained of."""
        told = "\n".join(evidence.text for evidence in problem.evidence)
        for option, value in parse_load_config(view.load_config).items():
            if isinstance(value, str) and value.startswith(("/", "~")) and value in told:
                yield _load_config(view, f"Do without “{option}”", {option: None})

    def _without_options(self, view: ModelView, problem: ProblemView) -> Iterable[Fix]:
        """Options that the engine complained of by the name that they have on its command line."""
        told = "\n".join(evidence.text for evidence in problem.evidence)
        config = parse_load_config(view.load_config)
        backend = self._scheduler.backends.get(view.backend)
        for option in backend.options if backend is not None else ():
            given = next((name for name in (option.name, *option.also) if name in config), None)
            if given is not None and any(_names(told, flag) for flag in (option.flag, option.off)):
                yield _load_config(view, f"Do without “{given}”", {given: None})
        words = config.get(EXTRA_ARGS.name)
        if isinstance(words, list) and (refused := _refused(told, words)):
            rest = [word for number, word in enumerate(words) if number not in refused]
            title = f"Take “{' '.join(words[number] for number in refused)}” out of the extra arguments"
            yield _load_config(view, title, {EXTRA_ARGS.name: rest or None})

    def _memory(self, view: ModelView) -> Iterable[Fix]:
        holders: list[Any] = [
            name for name, held in self._scheduler.loaded.items() if name != view.name and held.backend.uses_memory
        ]
        if holders:
            title = f"Unload {', '.join(holders)} and load “{view.name}”"
            yield Fix(
                id="",
                kind=FixKind.FREE_MEMORY,
                title=title,
                target=view.name,
                patch={"unload": holders},
                retries=True,
            )

    async def _smaller_context(self, view: ModelView) -> list[Fix]:
        """A context that fits, by the estimate; half of the present one where the estimate knows no better."""
        option = CONTEXT.get(view.backend)
        if option is None:
            return []
        config = self._scheduler.backends[view.backend].check_config(parse_load_config(view.load_config))
        now = config.get(option) or view.context_length
        if not isinstance(now, int):
            return []
        fits = await self._longest(view, config)
        context = now // 2 if fits is None or fits >= now else fits // WHOLE_CONTEXT * WHOLE_CONTEXT
        patch: dict[str, Any] = {option: context}
        if context < LEAST_CONTEXT or not self._fits(view, patch):
            return []
        return [_load_config(view, f"Use a context of {context:,} tokens", patch)]

    async def _longest(self, view: ModelView, config: dict[str, Any]) -> int | None:
        """The longest context that fits now, in tokens; None where nothing is known."""
        try:
            return (await self._estimator.estimate(view, config)).max_ctx_that_fits
        except AppError:
            return None


def _refused(told: str, words: list[str]) -> range:
    """Where in the arguments the first one stands that is named in what was told, with its values."""
    start = next((number for number, word in enumerate(words) if _names(told, word.partition("=")[0])), len(words))
    after = (number for number in range(start + 1, len(words)) if words[number].startswith("-"))
    return range(start, next(after, len(words)))


def _names(told: str, flag: str) -> bool:
    return flag.startswith("-") and re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", told) is not None


def _load_config(view: ModelView, title: str, patch: dict[str, Any]) -> Fix:
    return Fix(id="", kind=FixKind.LOAD_CONFIG, title=title, target=view.name, patch=patch, retries=True)
