"""What has been worked out is there when it is asked for again."""

from service.fitting.descent.kept import Kept


def _numbered(kept: Kept, keys: str) -> list[int]:
    """What belongs to each key: the number of its place, where it is made at last."""
    return [kept.once(key, number.__int__) for number, key in enumerate(keys)]


def test_what_belongs_to_a_key_is_made_once() -> None:
    assert _numbered(Kept(), "abab") == [0, 1, 0, 1]


def test_only_the_last_that_were_made_are_kept() -> None:
    assert _numbered(Kept(2), "abcbca") == [0, 1, 2, 1, 2, 5]
