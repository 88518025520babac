"""The line between a worker and its child."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.fitting.data import Dataset
from service.jobs.line import Line

Ends = tuple[Line, Line]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = (Line(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_come_in_order_and_as_they_were(ends: Ends) -> None:
    ours, theirs = ends
    messages: list[object] = [None, {"a": (1, 2.5)}, [], "ä"]
    for message in messages:
        ours.send(message)
    assert [theirs.receive() for _ in messages] == messages


def test_a_dataset_larger_than_the_sockets_room_arrives_whole_and_read_only(ends: Ends) -> None:
    ours, theirs = ends
    sent = Dataset(("x", "y"), np.random.default_rng(0).normal(size=(300_000, 2)))
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(ours.send, [sent, "and"])
        received, word = theirs.receive()
        sending.result()
    assert (received.names, received.digest, word) == (sent.names, sent.digest, "and")
    assert received.values.flags.f_contiguous
    assert not received.values.flags.writeable


def test_arrays_of_all_kinds_are_kept(ends: Ends) -> None:
    ours, theirs = ends
    records = np.zeros(3, np.dtype([("step", "<i8"), ("w", "<f4", (2,))], align=True))
    arrays = [np.empty((0, 2)), np.arange(6.0)[::2], records, records[:2].view(np.uint8)]
    ours.send(arrays)
    for before, after in zip(arrays, theirs.receive(), strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


def test_the_end_of_the_other_side_is_the_end(ends: Ends) -> None:
    ours, theirs = ends
    ours.send("last")
    ours.close()
    assert theirs.receive() == "last"
    with pytest.raises(EOFError):
        theirs.receive()
