"""What clients ran into that is no failure of a model: names nobody has, keys that are wrong, prompts that were cut."""

from __future__ import annotations

from collections import defaultdict

from quarterdeck.errors import AppError
from quarterdeck.mending.lacking import is_over, recent
from quarterdeck.mending.offers import Offers
from quarterdeck.proxy.records.log import RequestLog
from quarterdeck.proxy.routing.plans import close_names
from quarterdeck.scheduling.estimates import Estimator
from quarterdeck.scheduling.scheduler import Scheduler
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.diagnosis import Evidence, Remedy, RemedyKind
from quarterdeck.schemas.jsontext import parse_load_config
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.problems import Fix, FixKind, ProblemView, Severity
from quarterdeck.schemas.requests import Operation, RequestView

MOST_STAND_INS = 3
_UNKNOWN, _REFUSED = 404, 401


class UnknownNames:
    """Names that clients asked for in the last hour and that no model has."""

    def __init__(self, requests: RequestLog, scheduler: Scheduler) -> None:
        self._requests = requests
        self._catalog = scheduler.catalog

    async def __call__(self) -> list[ProblemView]:
        asked: dict[str, list[RequestView]] = defaultdict(list)
        unknown = recent(self._requests, lambda each: each.status == _UNKNOWN and each.asked and not each.model)
        for request in unknown:
            if self._leads_nowhere(request):
                asked[request.asked].append(request)
        return [self._problem(name, requests) for name, requests in asked.items()]

    def _leads_nowhere(self, request: RequestView) -> bool:
        try:
            self._catalog.resolve(request.asked)
        except AppError:
            return True
        return False

    def _problem(self, name: str, requests: list[RequestView]) -> ProblemView:
        fixes = [
            Fix(id=str(number), kind=FixKind.ALIAS, title=f"Let “{model}” answer to it", target=model,
                patch={"alias": name})
            for number, model in enumerate(self._stand_ins(name))
        ]  # fmt: skip
        return ProblemView(
            id=f"name:{name}",
            severity=Severity.MEDIUM,
            source="request",
            subject=f"client:{_who(requests[0])}",
            title=f"A client asks for “{name}”, and no model is called so",
            why=f"{_who(requests[0])} was answered that there is no such model.",
            hint="Choose another model in the client, or give one of yours this name.",
            failure_class="model_not_found",
            since=requests[0].at,
            times=len(requests),
            fixes=fixes,
        )

    def _stand_ins(self, name: str) -> list[str]:
        """Models that could answer: those written alike, then those that were used last."""
        views = {view.name: view for view in self._catalog.all() if not view.hidden and view.last_loaded is not None}
        used = sorted(views.values(), key=_last_used, reverse=True)
        return list(dict.fromkeys([*close_names(name, list(views)), *(view.name for view in used)]))[:MOST_STAND_INS]


class RefusedKeys:
    """Addresses that were refused in the last hour because of their key, and from which nobody got in since."""

    def __init__(self, requests: RequestLog) -> None:
        self._requests = requests

    async def __call__(self) -> list[ProblemView]:
        refused: dict[str, list[RequestView]] = defaultdict(list)
        let_in: set[str | None] = set()
        for request in recent(self._requests, lambda _: True):
            if request.status != _REFUSED or request.model:
                let_in.add(request.client)
            elif request.client not in let_in:
                refused[_who(request)].append(request)
        return [_of_key(who, requests) for who, requests in refused.items()]


def _of_key(who: str, requests: list[RequestView]) -> ProblemView:
    return ProblemView(
        id=f"key:{who}",
        severity=Severity.MEDIUM,
        source="request",
        subject=f"client:{who}",
        title="A client is refused because of its API key",
        why=f"{who}: {requests[0].error}",
        hint="Make a key for it on the Connect page, and put it into the client.",
        failure_class="auth_invalid_key",
        since=requests[0].at,
        times=len(requests),
    )


class CutPrompts:
    """Prompts that Ollama cut in the last hour without a word: those it counts fill the whole context."""

    def __init__(self, requests: RequestLog, scheduler: Scheduler, estimator: Estimator, offers: Offers) -> None:
        self._requests = requests
        self._scheduler = scheduler
        self._estimator = estimator
        self._offers = offers

    async def __call__(self) -> list[ProblemView]:
        views = {view.name: view for view in self._scheduler.catalog.all() if view.backend == BackendKind.OLLAMA}
        told: dict[str, list[RequestView]] = defaultdict(list)
        for request in recent(self._requests, lambda each: each.model in views and each.operation is Operation.CHAT):
            view = views[request.model]
            if not is_over(request, view):
                told[view.name].append(request)
        found = []
        for name, requests in told.items():
            context = await self._context(views[name])
            cut = [request for request in requests if context and (request.prompt_tokens or 0) >= context]
            if cut and context:
                found.append(await _of_cut(views[name], cut, context, self._offers))
        return found

    async def _context(self, view: ModelView) -> int | None:
        """Tokens of context that the model has at Ollama; None when that is not known."""
        if view.client_policy.num_ctx:
            return view.client_policy.num_ctx
        try:
            return (await self._estimator.estimate(view, parse_load_config(view.load_config))).n_ctx
        except AppError:
            return None


async def _of_cut(view: ModelView, cut: list[RequestView], context: int, offers: Offers) -> ProblemView:
    problem = ProblemView(
        id=f"cut:{view.name}",
        severity=Severity.MEDIUM,
        source="request",
        subject=f"model:{view.name}",
        title=f"Ollama cuts what “{view.name}” is to read",
        why=f"Prompts fill its context of {context:,} tokens: what came first in them is left out, without a word.",
        failure_class="context_overflow",
        evidence=[Evidence(line=1, text=f"{cut[0].prompt_tokens} tokens of prompt, a context of {context}")],
        since=cut[0].at,
        times=len(cut),
    )
    longer = min(2 * context, view.context_length or 2 * context)
    title = f"Make a variant of it with a context of {longer:,} tokens"
    await offers.put(problem, view, [Remedy(title=title, kind=RemedyKind.LOAD_CONFIG, patch={"num_ctx": longer})])
    return problem


def _who(request: RequestView) -> str:
    return request.key or request.client or "A client"


def _last_used(view: ModelView) -> float:
    return view.last_loaded.timestamp() if view.last_loaded else 0.0
