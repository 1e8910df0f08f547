"""A sampler in a thread stops between two steps, the way it was asked to."""

from __future__ import annotations

import threading
import time

import pytest

from palaestra.trainer.engines.gate import Gate


class Sampler:
    """Takes steps in a thread until it is told to give up or has taken `most`."""

    def __init__(self, gate, most=10**9):
        self.gate, self.most, self.steps, self.gave_up, self.working = gate, most, 0, False, threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        while not self.steps:
            time.sleep(0.001)

    def run(self):
        with self.working:
            while self.steps < self.most:
                with self.gate.step() as give_up:
                    if give_up:
                        self.gave_up = True
                        return
                    self.steps += 1
                time.sleep(0.0005)


@pytest.fixture
def gate():
    return Gate()


def test_a_kept_sampler_stops_where_it_is_and_goes_on(gate):
    sampler = Sampler(gate)
    gate.close(abort=False, wait_for=None)
    taken = sampler.steps
    time.sleep(0.05)
    assert gate.closed and sampler.steps == taken and sampler.thread.is_alive()
    gate.open()
    deadline = time.monotonic() + 30
    while sampler.steps == taken and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sampler.steps > taken
    gate.close(abort=True, wait_for=sampler.working)


def test_an_aborted_sampler_gives_up_and_the_gate_is_closed(gate):
    sampler = Sampler(gate)
    gate.close(abort=True, wait_for=sampler.working)
    sampler.thread.join(30)
    assert sampler.gave_up and gate.closed


def test_a_waiting_pause_lets_the_sampler_finish(gate):
    sampler = Sampler(gate, most=40)
    gate.close(abort=False, wait_for=sampler.working)
    assert sampler.steps == 40 and not sampler.gave_up and gate.closed


def test_nobody_samples_while_the_model_is_held(gate):
    sampler = Sampler(gate)
    with gate.hold():
        taken = sampler.steps
        time.sleep(0.05)
        assert sampler.steps == taken
    gate.close(abort=True, wait_for=sampler.working)
