"""The registry of causes: every one documented, every one produced as it is documented."""

import re
from pathlib import Path

import service.fitting.diagnosis as room
from service.fitting.diagnosis.registry import CAUSES, RANK
from tests.fitting.diagnosis.causes_page import PAGE, page

ROOM = Path(room.__file__).parent


def test_the_page_says_what_the_registry_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_code_is_made_somewhere_and_no_other_is() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in ROOM.rglob("*.py") if path.name != "registry.py")
    made = set(re.findall(r'cause\(\s*"(\w+)"', source)) | set(re.findall(r'_without\(evidence, "(\w+)"', source))
    assert re.search(r'cause\(f"\{dtype\}_floor"', source)
    assert made | {"float32_floor", "float64_floor"} == set(CAUSES)


def test_documentation_is_whole_sentences() -> None:
    for kind in CAUSES.values():
        for text in (kind.meaning, kind.share, *kind.numbers.values()):
            assert text[0].isupper() or text[0].isdigit()
            assert text.endswith((".", ")"))
        assert kind.numbers


def test_codes_are_ranked_in_the_order_of_the_page() -> None:
    assert sorted(CAUSES, key=RANK.__getitem__) == list(CAUSES)
