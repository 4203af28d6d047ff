from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from dualcontrast.training.interrupt import StopRequest, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_caught(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requests() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal is number
    assert signal.getsignal(number) is before


@pytest.fixture
def ctrl_c_ends() -> Iterator[None]:
    """Let Ctrl-C end the process, as it does unless a shell started it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_ends")
def test_a_second_ctrl_c_acts_immediately() -> None:
    with pytest.raises(KeyboardInterrupt), stop_requests():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_the_process_ends_as_the_signal_would_have_it() -> None:
    request = StopRequest()
    request.raise_signal()
    request.signal = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        request.raise_signal()
    request.signal = signal.SIGTERM
    with pytest.raises(SystemExit) as end:
        request.raise_signal()
    assert end.value.code == 143


def test_outside_the_main_thread_nothing_is_caught() -> None:
    requests: list[StopRequest] = []

    def enter() -> None:
        with stop_requests() as request:
            requests.append(request)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert requests[0].signal is None
