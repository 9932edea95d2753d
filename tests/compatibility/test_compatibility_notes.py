"""Notes and config hashes: what is kept of long texts, and what counts as the same load_config."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.compatibility import notes
from quarterdeck.compatibility.journal import config_hash
from quarterdeck.schemas.models import Cause, CauseKind
from quarterdeck.storage.tables import now


def cause(sentence: str, evidence: str) -> Cause:
    return Cause(
        failure_class="crash", kind=CauseKind.HARDWARE, title="It failed", sentence=sentence, hint="", evidence=evidence
    )


def test_the_evidence_is_told_once() -> None:
    assert notes.error_text(cause("It died: boom.", "boom")) == "It died: boom."
    assert notes.error_text(cause("It died.", "boom")) == "It died.\nboom"


@given(earlier=st.text(max_size=9000), text=st.text(min_size=1, max_size=300).filter(str.strip))
def test_notes_keep_the_newest_and_stay_readable(earlier: str, text: str) -> None:
    whole = notes.put_in_front(text, earlier, now())
    assert len(whole) <= notes.LONGEST
    assert text in whole
    if len(earlier) < notes.LONGEST - 400 and earlier.strip():
        assert whole.endswith(f"\n{earlier}")


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.lists(st.none())))
def test_the_order_of_keys_does_not_change_the_hash(config: dict[str, Any]) -> None:
    backwards = dict(reversed(config.items()))
    assert config_hash(backwards) == config_hash(config)
    assert config_hash({**config, "one more \0": 1}) != config_hash(config)
