"""What the journal does inside a transaction. Runs on the database's thread."""

from __future__ import annotations

import statistics
from typing import Any

from sqlmodel import Session, col, delete, desc, select

from quarterdeck.compatibility import machine, notes
from quarterdeck.compatibility.failure import Failure, Pause
from quarterdeck.errors import AppError
from quarterdeck.schemas.jsontext import to_text
from quarterdeck.schemas.models import AttemptView, CauseKind, Circumstances, Outcome, Status
from quarterdeck.storage.tables import Cooldown, LoadAttempt, Model, now

ATTEMPTS_KEPT = 200
_LONGEST_ERROR = 4000
_LONGEST_LOG = 16_000
_USUAL_OF = 5


def model(session: Session, name: str) -> Model:
    """The model's row. Raises AppError `unknown_model`."""
    found = session.get(Model, name)
    if found is None:
        raise AppError(
            "unknown_model", f"There is no model named “{name}”.", "Check the name in the list of models.", status=404
        )
    return found


def attempt(session: Session, attempt_id: int) -> LoadAttempt:
    """The attempt's row. Raises AppError `unknown_attempt`, as when its model was removed meanwhile."""
    found = session.get(LoadAttempt, attempt_id)
    if found is None:
        raise AppError(
            "unknown_attempt",
            f"Load attempt {attempt_id} is no longer in the journal.",
            "Load the model again.",
            status=404,
        )
    return found


def begin(session: Session, row: LoadAttempt) -> tuple[int, Status]:
    """Write `testing` and the attempt; an attempt that was left open counts as interrupted. Id and earlier status."""
    tested = model(session, row.model_name)
    before = tested.status
    for left in running(session, row.model_name):
        before = left.status_before
        left.outcome, left.ended_at, left.status_after = Outcome.INTERRUPTED, now(), before
    row.status_before = machine.after_cancel(before)
    tested.status = Status.TESTING
    session.add(row)
    session.flush()
    _prune(session, row.model_name)
    if row.id is None:
        raise RuntimeError("the database gave the attempt no id")
    return row.id, row.status_before


def running(session: Session, name: str | None = None) -> list[LoadAttempt]:
    """Attempts without an end, newest first; of all models when no name is given."""
    query = select(LoadAttempt).where(LoadAttempt.outcome == Outcome.RUNNING)
    if name is not None:
        query = query.where(LoadAttempt.model_name == name)
    return list(session.exec(query.order_by(desc(col(LoadAttempt.id)))))


def succeed(session: Session, attempt_id: int, load_seconds: float) -> AttemptView:
    row = attempt(session, attempt_id)
    if row.outcome is not Outcome.RUNNING:
        return view(row)
    loaded = model(session, row.model_name)
    loaded.total_loads += 1
    loaded.good_in_a_row += 1
    loaded.last_error = None
    row.load_seconds = load_seconds
    _end(row, Outcome.LOADED)
    loaded.last_loaded = row.ended_at
    _settle(session, loaded, row, machine.after_success(row.status_before, loaded.good_in_a_row), earned=True)
    return view(row)


def fail(session: Session, attempt_id: int, failure: Failure, seen: Circumstances | None) -> AttemptView:
    row = attempt(session, attempt_id)
    if row.outcome is not Outcome.RUNNING:
        return view(row)
    failed = model(session, row.model_name)
    cause, exceeds = failure.cause, failure.exceeds_card
    status = machine.after_failure(row.status_before, cause.kind, failed.total_loads, exceeds)
    _record(failed, row, failure, notes.failed(cause, status, failed.total_loads, exceeds_card=exceeds))
    _witness(row, seen)
    _settle(session, failed, row, status, earned=failure.tells_of_hardware)
    return view(row)


def crash_after_load(session: Session, attempt_id: int, failure: Failure, seen: Circumstances | None) -> AttemptView:
    """An engine died after its load had been recorded as good; `load_seconds` stays and tells that it was loaded."""
    row = attempt(session, attempt_id)
    if row.outcome is not Outcome.LOADED:
        return view(row)
    crashed = model(session, row.model_name)
    cause, exceeds = failure.cause, failure.exceeds_card
    status = machine.after_failure(_status_now(session, crashed), cause.kind, crashed.total_loads, exceeds)
    _record(crashed, row, failure, notes.crashed_after_load(cause, status, crashed.total_loads, exceeds_card=exceeds))
    _witness(row, seen)
    _settle(session, crashed, row, status, earned=failure.tells_of_hardware)
    return view(row)


def cancel(session: Session, attempt_id: int, reason: str) -> AttemptView:
    row = attempt(session, attempt_id)
    if row.outcome is not Outcome.RUNNING:
        return view(row)
    row.error = reason or None
    _end(row, Outcome.CANCELLED)
    _settle(session, model(session, row.model_name), row, machine.after_cancel(row.status_before), earned=False)
    return view(row)


def interrupt(session: Session, row: LoadAttempt) -> Model:
    """End an attempt that the app did not live to end; its model must not be loaded again by accident."""
    tested = model(session, row.model_name)
    status = machine.after_interruption(tested.total_loads)
    row.error = "Quarterdeck or the computer stopped while the model was loading."
    row.cause_kind = CauseKind.HARDWARE
    _end(row, Outcome.INTERRUPTED)
    _mark_interrupted(tested, status, row.error)
    _settle(session, tested, row, status, earned=True)
    return tested


def stuck(session: Session) -> list[Model]:
    """Models in testing; after the running attempts were ended, these have no attempt that explains it."""
    return list(session.exec(select(Model).where(Model.status == Status.TESTING).order_by(Model.name)))


def unstick(tested: Model, hardware: str, config: str) -> None:
    status = machine.after_interruption(tested.total_loads)
    _mark_interrupted(tested, status, "Quarterdeck or the computer stopped while the model was loading.")
    tested.status, tested.status_hardware, tested.status_config_hash = status, hardware, config


def set_by_person(
    session: Session, name: str, status: Status | None, notes_text: str | None, load_config: dict[str, Any] | None
) -> Model:
    """Change what a person may change; while a load runs, the status is what the load will start from."""
    changed = model(session, name)
    if load_config is not None:
        changed.load_config = load_config
        changed.curated = {**changed.curated, "load_config": load_config}
        changed.layer = "curated"
    if notes_text is not None:
        changed.notes = notes_text
    if status is None:
        return changed
    changed.good_in_a_row = 0
    _give_status(session, changed, status)
    return changed


def attempts(session: Session, name: str) -> list[AttemptView]:
    model(session, name)
    query = select(LoadAttempt).where(LoadAttempt.model_name == name).order_by(desc(col(LoadAttempt.id)))
    return [view(row) for row in session.exec(query)]


def usual_load_seconds(session: Session, name: str) -> float | None:
    """The median of the newest good loads."""
    query = (
        select(LoadAttempt.load_seconds)
        .where(LoadAttempt.model_name == name, col(LoadAttempt.load_seconds).is_not(None))
        .order_by(desc(col(LoadAttempt.id)))
        .limit(_USUAL_OF)
    )
    found = [seconds for seconds in session.exec(query) if seconds is not None]
    return statistics.median(found) if found else None


def engines(session: Session, limit: int) -> list[LoadAttempt]:
    """The newest attempts that had an engine."""
    query = select(LoadAttempt).where(col(LoadAttempt.engine_pid).is_not(None))
    return list(session.exec(query.order_by(desc(col(LoadAttempt.id))).limit(limit)))


def pauses(session: Session) -> dict[str, Pause]:
    """The models that are left alone after failures, by name; also those whose time is over."""
    return {row.model_name: Pause(row.failures, row.until) for row in session.exec(select(Cooldown))}


def set_pause(session: Session, name: str, pause: Pause | None) -> None:
    """Keep how long a model is left alone; None forgets it, and a model that was removed is passed over."""
    row = session.get(Cooldown, name)
    if pause is None:
        if row is not None:
            session.delete(row)
    elif row is not None:
        row.failures, row.until = pause
    elif session.get(Model, name) is not None:
        session.add(Cooldown(model_name=name, failures=pause.failures, until=pause.until))


def view(row: LoadAttempt) -> AttemptView:
    fields = row.model_dump(exclude={"load_config"})
    return AttemptView.model_validate({**fields, "load_config": to_text(row.load_config)})


def _end(row: LoadAttempt, outcome: Outcome) -> None:
    row.outcome = outcome
    row.ended_at = now()


def _settle(session: Session, changed: Model, row: LoadAttempt, status: Status, *, earned: bool) -> None:
    """Give the model its status; an earned one belongs to the hardware and load_config of the attempt."""
    row.status_after = status
    _give_status(session, changed, status)
    if earned:
        changed.status_hardware, changed.status_config_hash = row.hardware, row.config_hash


def _give_status(session: Session, changed: Model, status: Status) -> None:
    """Set the status; while a load runs the model stays in testing, and the load starts from the new status."""
    testing = running(session, changed.name)
    for row in testing:
        row.status_before = status
    if not testing:
        changed.status = status


def _status_now(session: Session, known: Model) -> Status:
    testing = running(session, known.name)
    return testing[0].status_before if testing else known.status


def _record(failed: Model, row: LoadAttempt, failure: Failure, note: str) -> None:
    cause = failure.cause
    _end(row, Outcome.FAILED)
    row.failure_class, row.cause_kind = cause.failure_class, cause.kind
    row.error, row.hint = _storable(notes.error_text(cause)[:_LONGEST_ERROR]), _storable(cause.hint) or None
    row.exit_code, row.signal = failure.exit_code, failure.signal
    row.log_tail = _storable(failure.log_tail[-_LONGEST_LOG:])
    failed.good_in_a_row = 0
    failed.last_error = _storable(cause.sentence)
    failed.notes = notes.put_in_front(_storable(note), failed.notes, row.ended_at or now())


def _witness(row: LoadAttempt, seen: Circumstances | None) -> None:
    row.circumstances = None if seen is None else seen.model_dump(mode="json")


def _storable(text: str) -> str:
    """`text` without what no database takes: engines print anything, and a failure must be recorded all the same."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _mark_interrupted(tested: Model, status: Status, error: str) -> None:
    tested.good_in_a_row = 0
    tested.last_error = error
    tested.notes = notes.put_in_front(notes.interrupted(status, tested.total_loads), tested.notes, now())


def _prune(session: Session, name: str) -> None:
    """Keep the newest attempts of a model."""
    oldest_kept = session.exec(
        select(LoadAttempt.id)
        .where(LoadAttempt.model_name == name)
        .order_by(desc(col(LoadAttempt.id)))
        .offset(ATTEMPTS_KEPT - 1)
        .limit(1)
    ).first()
    if oldest_kept is not None:
        session.exec(delete(LoadAttempt).where(col(LoadAttempt.model_name) == name, col(LoadAttempt.id) < oldest_kept))
