"""Stages share one span of time."""

from __future__ import annotations

from service.usecases.grace import LEAST_S, Grace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_quick_stage_leaves_its_time_to_the_next_and_a_slow_one_takes_only_its_own() -> None:
    clock = Clock()
    grace = Grace(10, clock=clock)
    clock.now_s += 5  # served for a while
    grace.begin()
    clock.now_s += 1
    assert grace.left_s(0.7) == 6
    assert grace.left_s(0.9) == 8
    clock.now_s += 7
    assert grace.left_s(0.7) == LEAST_S
    assert grace.left_s(0.9) == 1


def test_it_begins_once_by_the_signal_or_by_the_first_question() -> None:
    clock = Clock()
    signalled, asked = Grace(10, clock=clock), Grace(10, clock=clock)
    signalled.begin()
    assert asked.left_s(1) == 10
    clock.now_s += 4
    signalled.begin()
    assert signalled.left_s(1) == asked.left_s(1) == 6
