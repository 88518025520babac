"""What every store of files does, and what each says where it cannot."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.datasets.address import open_files
from service.datasets.bucket import Bucket
from service.datasets.files import Files, StoreUnavailable, StoreUnusable, path_of
from service.datasets.folder import Folder
from tests.datasets.conftest import Kept
from tests.object_store import ObjectStore

NAME, OTHER = "ab" * 32, "cd" * 32
SOON = timedelta(hours=1)


def _all_names(files: Files) -> set[str]:
    return set(files.names(datetime.now(UTC) + SOON))


def test_what_is_put_is_there_until_it_is_removed(kept: Kept) -> None:
    kept.files.check()
    assert (kept.files.get(NAME), kept.files.size(NAME), _all_names(kept.files)) == (None, None, set())
    kept.files.put(NAME, memoryview(b"12345"))
    kept.files.put(NAME, memoryview(b"12345"))
    kept.files.put(OTHER, memoryview(b""))
    assert (kept.files.get(NAME), kept.files.size(NAME)) == (b"12345", 5)
    assert kept.files.get(OTHER) == b""
    assert _all_names(kept.files) == {NAME, OTHER}
    kept.files.remove(NAME)
    kept.files.remove(NAME)
    assert kept.files.get(NAME) is None
    assert _all_names(kept.files) == {OTHER}


def test_only_old_files_of_datasets_are_named(kept: Kept) -> None:
    kept.files.put(NAME, memoryview(b"1"))
    kept.files.put("owner", memoryview(b"me"))
    kept.overwrite(path_of(OTHER) + ".txt", b"somebody's note")
    assert _all_names(kept.files) == {NAME}
    assert set(kept.files.names(datetime.now(UTC) - SOON)) == set()
    assert kept.files.get("owner") == b"me"


def test_megabytes_go_and_come_back(kept: Kept) -> None:
    body = os.urandom(24 << 20)
    kept.files.put(NAME, memoryview(body))
    assert kept.files.size(NAME) == len(body)
    assert kept.files.get(NAME) == body


def test_both_kinds_have_their_files_at_the_same_places(kept: Kept) -> None:
    kept.overwrite(f"ab/{NAME}", b"copied from elsewhere")
    assert kept.files.get(NAME) == b"copied from elsewhere"


def test_what_was_never_finished_is_cleared_away(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put(NAME, memoryview(b"1"))
    left = tmp_path / "ab" / "0123.unfinished"
    left.write_bytes(b"half of")
    assert set(folder.names(datetime.now(UTC) - SOON)) == set()
    assert left.exists()
    assert _all_names(folder) == {NAME}
    assert not left.exists()


ASK: dict[str, Callable[[Files], object]] = {
    "get": lambda files: files.get(NAME),
    "size": lambda files: files.size(NAME),
    "put": lambda files: files.put(NAME, memoryview(b"1")),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_a_folder_that_is_away_is_not_an_empty_one(tmp_path: Path, ask: Callable[[Files], object]) -> None:
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        ask(Folder(tmp_path / "unmounted"))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = Folder(tmp_path)
    monkeypatch.setattr("service.datasets.folder.os.fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        folder.put(NAME, memoryview(b"1"))
    assert folder.get(NAME) is None
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://bucket", "it must be a folder's path, or s3://bucket/prefix"),
        ("s3://", "names no bucket"),
        ("{folder}/missing/datasets", "No such file or directory; PLUMBLINE_DATASET_STORE must be a folder"),
        ("{folder}/file", "File exists"),
        ("/proc/datasets", "PLUMBLINE_DATASET_STORE must be a folder that this user can write to"),
        ("s3://there-is-no-such-bucket/datasets", "does not exist; PLUMBLINE_DATASET_STORE must be s3://"),
        ("s3://Not_A_Name!/datasets", "names no bucket; PLUMBLINE_DATASET_STORE must be s3://bucket/prefix"),
    ],
)
async def test_an_address_that_cannot_be_is_said_plainly(
    tmp_path: Path, s3: ObjectStore, address: str, words: str
) -> None:
    del s3
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match=words) as caught:
        await open_files(address.format(folder=tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.anyio
async def test_without_credentials_a_bucket_cannot_be_used(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    address = s3.new_bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreUnusable, match="credentials"):
        await open_files(address)


@pytest.mark.anyio
async def test_a_store_that_does_not_answer_is_opened_all_the_same(
    s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = s3.new_bucket()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    files = await open_files(address)
    assert isinstance(files, Bucket)
    assert "Large datasets cannot be stored yet" in caplog.text
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        files.get(NAME)


@pytest.mark.anyio
async def test_no_address_is_no_store() -> None:
    assert await open_files(None) is None
