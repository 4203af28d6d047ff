"""Ctrl-C and SIGTERM as a wish to stop at the next step, so that a checkpoint can be left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether, and by which signal, the process was asked to stop."""

    signal: signal.Signals | None = None

    def obey(self) -> None:
        """End as the signal would have ended the process, once everything is saved."""
        if self.signal is signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise SystemExit(128 + self.signal)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch the first Ctrl-C or SIGTERM; a second one acts at once, as always."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # signals reach the main thread alone
        return
    caught = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in caught}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = signal.Signals(number)
        for each in caught:
            signal.signal(each, before[each])

    for number in caught:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number in caught:
            signal.signal(number, before[number])
