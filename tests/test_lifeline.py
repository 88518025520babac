"""The lifeline: lost when its holder closes it, and not before."""

import os
import threading

from service.lifeline import watch


def test_losing_it_is_noticed() -> None:
    read_end, write_end = os.pipe()
    lost = threading.Event()
    thread = watch(read_end, lost.set)
    assert not lost.is_set()
    os.close(write_end)
    thread.join(30)
    assert lost.is_set()
    os.close(read_end)
