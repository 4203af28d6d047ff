"""Ctrl-C and SIGTERM as a request to stop after the current step, so that a checkpoint can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """The signal that asked the process to stop, if any."""

    signal: signal.Signals | None = None

    def raise_signal(self) -> None:
        """End the process the way the signal would have, if one arrived."""
        if self.signal is signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the first Ctrl-C or SIGTERM; a second one acts immediately, as usual."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread receives signals
        return
    caught = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in caught}

    def catch(number: int, frame: FrameType | None) -> None:
        request.signal = signal.Signals(number)
        for each in caught:
            signal.signal(each, before[each])

    for number in caught:
        signal.signal(number, catch)
    try:
        yield request
    finally:
        for number in caught:
            signal.signal(number, before[number])
