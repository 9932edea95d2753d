"""From what went wrong in a load to its cause, and from the cause to the error that people see."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.backends.base import EngineFailed, ExitReport
from quarterdeck.backends.remote import ServerRefused
from quarterdeck.diagnosis.matcher import diagnose
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.scheduling.refusals import MEMORY_NOT_RELEASED
from quarterdeck.schemas.models import AttemptView, Cause, CauseKind, Circumstances, Status

# codes of errors found before the engine starts -> failure class
_BEFORE_START = {
    "file_missing": "model_not_found",
    "not_a_file": "model_not_found",
    "model_missing": "model_not_found",
    "file_unreadable": "permission_denied",
    "empty_file": "corrupt_model_file",
    "not_gguf": "corrupt_model_file",
    "truncated_header": "corrupt_model_file",
    "truncated_file": "corrupt_model_file",
    "corrupt_header": "corrupt_model_file",
    "old_ggml": "old_gguf_format",
    "unsupported_gguf_version": "old_gguf_format",
    "part_missing": "model_not_found",
    "model_not_served": "model_not_found",
    "engine_missing": "missing_dependency",
    "no_docker": "missing_dependency",
    "tool_missing": "missing_dependency",
    "needs_key": "auth_invalid_key",
    "server_unreachable": "connection_refused",
    "server_late": "connection_refused",
    "port_in_use": "port_in_use",
    "disk_full": "disk_full",
    "data_dir_read_only": "permission_denied",
    MEMORY_NOT_RELEASED: "cuda_oom",
}
_TITLES = {
    "model_not_found": "The model is not there",
    "missing_dependency": "A program is missing",
    "auth_invalid_key": "The key is not accepted",
    "connection_refused": "Nothing answers at the address",
    "port_in_use": "The port is taken",
    "permission_denied": "Reading is not allowed",
    "corrupt_model_file": "The model file is damaged",
    "old_gguf_format": "The model file is of an old format",
    "disk_full": "The disk is full",
    "bad_load_config": "An option cannot be used",
}


def cause_of(failure: EngineFailed | AppError | OSError, seen: Circumstances | None = None) -> Cause:
    """The cause of a load that did not end well; `seen` is how the machine was then."""
    if isinstance(failure, EngineFailed):
        return _engine_cause(failure, seen)
    if isinstance(failure, AppError):
        kind = CauseKind.CAPACITY if failure.code == MEMORY_NOT_RELEASED else CauseKind.ENVIRONMENT
        failure_class = _class_before_start(failure)
        return Cause(
            failure_class=failure_class,
            kind=kind,
            title=title_before_start(failure_class) or "The model could not be started",
            sentence=failure.sentence,
            hint=failure.hint,
        )
    return Cause(
        failure_class="other",
        kind=CauseKind.ENVIRONMENT,
        title="The engine could not be started",
        sentence=f"The engine process could not be started: {failure.strerror or failure}.",
        hint="Check free memory and the limits of this user, then load again.",
    )


def title_before_start(failure_class: str | None) -> str | None:
    """What to call a failure of that class where no engine was there to say more."""
    return _TITLES.get(failure_class or "")


def _class_before_start(failure: AppError) -> str:
    if isinstance(failure, ConfigError):
        return "bad_load_config"
    if isinstance(failure, ServerRefused) and failure.code not in _BEFORE_START:
        return diagnose([failure.message]).failure_class
    return _BEFORE_START.get(failure.code, "other")


def cause_of_exit(report: ExitReport, log: Sequence[str], seen: Circumstances | None) -> Cause:
    return diagnose(
        log,
        exit_code=report.exit_code,
        signal=report.signal,
        oom_killed=report.oom_killed,
        nvml=seen.nvml if seen is not None else None,
    )


def elsewhere(cause: Cause) -> Cause:
    """The cause for a model that takes no memory here: how its gateway ends tells nothing of the hardware."""
    return cause.model_copy(update={"kind": CauseKind.ENVIRONMENT}) if cause.kind is CauseKind.HARDWARE else cause


def _engine_cause(failure: EngineFailed, seen: Circumstances | None) -> Cause:
    if failure.timed_out is not None:
        return Cause(
            failure_class="timeout_loading",
            kind=CauseKind.ENVIRONMENT,
            title="The load took too long",
            sentence=f"The engine was not ready after {failure.timed_out:.0f} seconds.",
            hint="Raise “Longest load” in Settings, or choose a smaller model.",
            evidence=next(iter(failure.log[-1:]), ""),
        )
    assert failure.exit_report is not None
    return cause_of_exit(failure.exit_report, failure.log, seen)


def load_error(failure: EngineFailed | AppError | OSError, cause: Cause, attempt: AttemptView | None) -> AppError:
    """The answer to a failed load: an error found before the start keeps its own code and status."""
    status = 507 if cause.kind is CauseKind.CAPACITY else 424
    if isinstance(failure, AppError):
        status = failure.status if isinstance(failure, ConfigError) or failure.status >= 500 else 424
    after = attempt.status_after if attempt is not None else None
    return AppError(
        failure.code if isinstance(failure, AppError) else cause.failure_class,
        cause.sentence,
        cause.hint,
        status=status,
        details={
            **(failure.details if isinstance(failure, AppError) else {}),
            "diagnosis": cause.model_dump(mode="json"),
            "compatibility_status": (after or Status.UNKNOWN).value,
            "attempt_id": attempt.id if attempt is not None else None,
        },
    )
