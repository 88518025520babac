"""Every kind of store of files, real: a folder, and a server that speaks S3."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.datasets.bucket import Bucket
from service.datasets.files import Files
from service.datasets.folder import Folder
from tests.object_store import ObjectStore, object_store


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[ObjectStore]:
    with object_store() as server:
        yield server


@pytest.fixture
def s3(s3_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The server, where this process looks for one."""
    for name, value in s3_server.variables.items():
        monkeypatch.setenv(name, value)
    return s3_server


@dataclass(frozen=True)
class Kept:
    """A store of files, and how somebody else writes to it behind its back."""

    files: Files
    overwrite: Callable[[str, bytes], None]


@pytest.fixture(params=["folder", "bucket"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """An empty store of files, of each kind."""
    if request.param == "folder":
        root = tmp_path / "datasets"
        root.mkdir()
        return Kept(Folder(root), lambda path, body: _overwrite(root / path, body))
    server: ObjectStore = request.getfixturevalue("s3")
    address = server.new_bucket()
    return Kept(Bucket(address), lambda path, body: server.client.pipe_file(f"{address}/{path}", body))


def _overwrite(path: Path, body: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
