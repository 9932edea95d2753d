"""The replay of llama.cpp's allocator: places, gaps and what may be written over."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.hardware.fit.replay import ALIGNMENT, Tape

SIZES = st.lists(st.integers(1, 1 << 20), min_size=1, max_size=30)


def test_results_that_live_together_add_up_and_a_freed_place_is_used_again() -> None:
    tape = Tape()
    first = tape.input(320)
    second = tape.new(640, first)
    third = tape.new(320, second)
    tape.new(640, third, kept=True)
    # 320 (free after the second) + 640; the third takes the place of the first, the fourth that of the second.
    assert tape.high_water() == 960


def test_a_gap_that_is_too_small_is_left() -> None:
    tape = Tape()
    small = tape.input(320)
    tape.new(640, tape.new(64, small), kept=True)
    assert tape.high_water() == 320 + 64 + 640


def test_the_tightest_gap_is_taken() -> None:
    tape = Tape()
    wide, wall, tight = tape.input(960), tape.input(32), tape.input(320)
    last = tape.new(32, wide, wall, tight)
    held = tape.new(320, last, kept=True)
    tape.new(960, held, kept=True)
    # Without the tightest gap for the fourth, the fifth would not fit into the widest.
    assert tape.high_water() == 960 + 32 + 320 + 32


def test_an_operand_that_is_needed_later_is_not_written_over() -> None:
    once, twice = Tape(), Tape()
    operand = once.input(320)
    once.over(operand)
    operand = twice.input(320)
    changed = twice.over(operand)
    twice.new(32, operand, changed)
    assert once.high_water() == 320
    assert twice.high_water() == 640 + 32


def test_a_view_keeps_what_it_shows() -> None:
    tape = Tape()
    shown = tape.new(320, tape.input(32))
    view = tape.view(shown)
    other = tape.new(320, view)
    tape.new(320, other)
    # The third may take the place of the first, which nobody sees any more.
    assert tape.high_water() == 32 + 640
    unread = Tape()
    unread.view(unread.new(320, unread.input(32)))
    unread.new(640)
    assert unread.high_water() == 32 + 320 + 640


def test_sizes_are_rounded_up_to_the_alignment() -> None:
    tape = Tape()
    tape.input(1)
    tape.input(ALIGNMENT + 1)
    assert tape.high_water() == 3 * ALIGNMENT


@given(SIZES)
def test_the_buffer_is_no_smaller_than_a_step_and_no_larger_than_all(sizes: list[int]) -> None:
    tape = Tape()
    current = tape.input(sizes[0])
    for size in sizes[1:]:
        current = tape.new(size, current)
    aligned = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
    largest_pair = max((a + b for a, b in itertools.pairwise(aligned)), default=aligned[0])
    assert largest_pair <= tape.high_water() <= sum(aligned)
