"""The cause of a load that failed before or without an engine of ours."""

from __future__ import annotations

import pytest

from quarterdeck.backends.remote import ServerRefused, ServerUnreachable
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.scheduling.failures import cause_of, title_before_start
from quarterdeck.schemas.models import CauseKind

REFUSED_FOR_MEMORY = "model requires more system memory (5.6 GiB) than is available (2.1 GiB)"


@pytest.mark.parametrize(
    ("failure", "failure_class"),
    [
        (ServerUnreachable("server_unreachable", "Nothing listens there."), "connection_refused"),
        (ServerRefused("vLLM", "http://127.0.0.1:1", 401, "Unauthorized"), "auth_invalid_key"),
        (AppError("model_not_served", "It has no such model."), "model_not_found"),
        (AppError("engine_missing", "The program “vllm” was not found."), "missing_dependency"),
        (AppError("port_in_use", "Port 8000 is used by python."), "port_in_use"),
        (ConfigError("unknown_to_engine", "It has no “--x”.", "Remove it.", option="x"), "bad_load_config"),
    ],
)
def test_what_failed_before_the_start_has_a_class_and_a_title(failure: AppError, failure_class: str) -> None:
    cause = cause_of(failure)
    assert (cause.failure_class, cause.kind) == (failure_class, CauseKind.ENVIRONMENT)
    assert cause.title == title_before_start(failure_class)
    assert cause.sentence == failure.sentence


def test_what_a_server_said_when_it_refused_is_read() -> None:
    cause = cause_of(ServerRefused("Ollama", "http://127.0.0.1:1", 500, REFUSED_FOR_MEMORY))
    assert cause.failure_class == "host_oom_killed"
    assert REFUSED_FOR_MEMORY in cause.sentence


def test_what_nobody_knows_is_told_as_it_was_said() -> None:
    cause = cause_of(AppError("something_new", "The stars are wrong."))
    assert (cause.failure_class, cause.sentence) == ("other", "The stars are wrong.")
    assert title_before_start(cause.failure_class) is None
