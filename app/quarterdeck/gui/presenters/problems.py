"""Problems and the changes against them in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from difflib import unified_diff
from typing import NamedTuple

from quarterdeck.gui.presenters.badges import Badge, Tone
from quarterdeck.gui.presenters.text import counted, inside, moment, sentence_start
from quarterdeck.schemas.diagnosis import Evidence
from quarterdeck.schemas.problems import AppliedFix, Change, Fix, FixKind, FixPreview, FixResult, ProblemView, Severity
from quarterdeck.schemas.requests import RequestView

MACHINE = "machine"
LONGEST_VERB = 28
SEVERITIES: dict[Severity, Badge] = {
    Severity.CRITICAL: Badge("error", "Critical", Tone.ERROR, "Nothing works until this is solved."),
    Severity.HIGH: Badge("warn", "High", Tone.ERROR, "Something that is needed does not work."),
    Severity.MEDIUM: Badge("degraded", "Medium", Tone.WARN, "It works in part, or will fail sooner or later."),
    Severity.LOW: Badge("unknown", "Low", Tone.NEUTRAL, "A blemish that does little harm."),
    Severity.INFO: Badge("info", "Note", Tone.INFO, "Only worth knowing."),
}
_KINDS = {"model": "Model", "server": "Server", "client": "Client", "file": "File"}
_SHOW = {"model": "Show the model", "server": "Show the server"}


class ProblemCard(NamedTuple):
    """Everything on the card of one problem. `show` is the verb that leads to its subject; empty where none does."""

    id: str
    badge: Badge
    title: str
    subject: str
    about: str
    show: str
    why: str
    hint: str
    evidence: tuple[Evidence, ...]
    advice: tuple[str, ...]
    commands: tuple[str, ...]
    fixes: tuple[Fix, ...]
    known_issue: str
    known_title: str


class AppliedLine(NamedTuple):
    """A change that was made; `undo_id` is empty when it cannot be taken back any more."""

    title: str
    words: str
    tip: str
    icon: str
    tone: Tone
    undo_id: str
    undoing: bool


def problem_card(
    view: ProblemView,
    *,
    now: datetime,
    titles: Mapping[str, str],
    servers: Mapping[str, str],
    models: Collection[str] = (),
) -> ProblemCard:
    """`titles` of known issues by id, `servers` are titles by name, `models` the names of all models."""
    known = view.known_issue or ""
    subject = shown_subject(view.subject, servers, models)
    why, advice = sentence_start(view.why), tuple(sentence_start(line) for line in view.advice)
    told = (why, *advice)
    return ProblemCard(
        id=view.id,
        badge=SEVERITIES[view.severity],
        title=view.title,
        subject=subject,
        about=" · ".join(part for part in (subject_words(subject, servers), _when(view, now)) if part),
        show=_SHOW.get(subject.partition(":")[0], ""),
        why=why,
        hint="" if any(view.hint in line for line in told) else view.hint,
        evidence=tuple(view.evidence),
        advice=tuple(line for line in advice if line != why),
        commands=tuple(view.commands),
        fixes=tuple(view.fixes),
        known_issue=known,
        known_title=titles.get(known, known),
    )


def shown_subject(subject: str, servers: Mapping[str, str], models: Collection[str]) -> str:
    """What is meant by a subject: an instance that runs one model has its name, and is that model to people."""
    kind, _, name = subject.partition(":")
    return f"model:{name}" if kind == "server" and name not in servers and name in models else subject


def subject_words(subject: str, servers: Mapping[str, str]) -> str:
    """A subject such as `server:vllm` as people say it."""
    kind, _, name = subject.partition(":")
    if kind == MACHINE or not name:
        return "This computer" if kind == MACHINE else subject
    return f"{_KINDS.get(kind, kind)} {servers.get(name, name) if kind == 'server' else name}"


def _when(view: ProblemView, now: datetime) -> str:
    since = f"since {inside(moment(view.since, now))}" if view.since is not None else ""
    times = counted(view.times, "time", "times") if view.times > 1 else ""
    return " · ".join(part for part in (since, times) if part)


def summary(views: Sequence[ProblemView]) -> str:
    """One line over the list: how many, and how bad."""
    if not views:
        return ""
    counts = [(badge.word.lower(), sum(view.severity is severity for view in views))
              for severity, badge in SEVERITIES.items()]  # fmt: skip
    parts = ", ".join(f"{count} {word}" for word, count in counts if count)
    return f"{counted(len(views), 'problem', 'problems')}: {parts}"


def why_line(views: Sequence[ProblemView], titles: Mapping[str, str]) -> str:
    """The line on the card of a model or a server with these problems; empty where there is none."""
    if not views:
        return ""
    worst = views[0]
    known = worst.known_issue
    if known is not None and worst.failure_class is None:
        return f"Known issue: {titles.get(known, known)}"
    # Where the cause was made out it says more than the title of an issue that holds for many.
    return f"Why? {_without_subject(worst)}{' – a known issue' if known is not None else ''}"


def _without_subject(view: ProblemView) -> str:
    """The title where its subject is named beside it: of `“qwen3” did not load: the file is cut off`, the reason."""
    before, _, reason = view.title.partition(": ")
    named = f"“{view.subject.partition(':')[2]}”" in before
    return sentence_start(reason) if named and reason else view.title


def cause_words(views: Sequence[ProblemView]) -> str:
    """Why something failed, from its problems; empty where no cause was made out."""
    return next((view.why for view in views if view.failure_class is not None), "")


def of_request(views: Sequence[ProblemView], error: str) -> list[ProblemView]:
    """The problems of a model that a failed request of it shows, those with its very error first.

    A load that failed is one of them where the request was refused with its words.
    """
    asked = [view for view in views if view.source == "request" or (error and error in view.why)]
    return sorted(asked, key=lambda view: not any(line.text.strip() in error for line in view.evidence))


def refusals(views: Sequence[ProblemView], request: RequestView) -> list[ProblemView]:
    """The problems of a client that a refused request of it shows: those with its error, or the name it asked for."""
    asked, error = f"“{request.asked}”", request.error or ""
    return [view for view in views if error in view.why or (request.asked and asked in f"{view.title} {view.why}")]


def verb(fix: Fix) -> str:
    """What the button says that makes a change."""
    if fix.retries:
        return "Change and try again"
    return fix.title if len(fix.title) <= LONGEST_VERB else "Make the change"


def is_grave(fix: Fix, preview: FixPreview) -> bool:
    """Whether a change takes something away for good; a server that is started and a commit add something."""
    adds = fix.kind is FixKind.START_SERVER or (fix.kind is FixKind.GIT and fix.patch.get("action") == "commit")
    return not preview.undoable and not adds


def way_back(fix: Fix, preview: FixPreview) -> str:
    """Whether a change can be taken back, where that is a question."""
    if preview.undoable:
        return "This can be taken back."
    return "" if fix.kind is FixKind.START_SERVER else "This cannot be taken back."


def result_words(result: FixResult) -> tuple[str, str]:
    """What a change came to, and the kind of toast for it."""
    return result.sentence, "warn" if result.worked is False else "ok"


def applied_line(
    fix: AppliedFix, *, now: datetime, servers: Mapping[str, str], undoing: Collection[str] = ()
) -> AppliedLine:
    """A change in the list of changes that were made; `undoing` are those that are being taken back."""
    if fix.undone_at is not None:
        icon, tone, state = "undo", Tone.NEUTRAL, f"taken back {inside(moment(fix.undone_at, now))}"
    elif fix.worked is None:
        icon, tone, state = "ok", Tone.OK, ""
    else:
        icon, tone, state = ("ok", Tone.OK, "it helped") if fix.worked else ("warn", Tone.WARN, "it did not help")
    parts = (subject_words(fix.subject, servers), inside(moment(fix.applied_at, now)), state)
    return AppliedLine(
        title=fix.title,
        words=" · ".join(part for part in parts if part),
        tip="\n".join(change_words(change) for change in fix.changes),
        icon=icon,
        tone=tone,
        undo_id=fix.undo_id if fix.undone_at is None else "",
        undoing=fix.undo_id in undoing,
    )


def change_words(change: Change) -> str:
    """A change in one line."""
    return f"{change.what}: {change.before or 'nothing'} → {change.after or 'nothing'}"


def is_long(change: Change) -> bool:
    """Whether a change is of several lines, which are shown as a difference."""
    return "\n" in change.before or "\n" in change.after


def difference(change: Change) -> str:
    """A change of several lines: what goes and what comes, with the lines around it."""
    lines = unified_diff(change.before.splitlines(), change.after.splitlines(), "now", "then", n=2, lineterm="")
    told = [line for line in lines if not line.startswith(("--- ", "+++ "))]
    # Between parts that are far from each other there is a gap; what it is counted as means nothing to people.
    return "\n".join("⋯" if line.startswith("@@") else line for line in told[1:])
