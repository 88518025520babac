"""The folder for compiled code can always be written to."""

from pathlib import Path

from service.jobs.numba_cache import numba_cache, sources_digest


def test_it_lies_in_the_data_folder_and_stays(tmp_path: Path) -> None:
    with numba_cache(tmp_path / "not there yet") as folder:
        assert folder == tmp_path / "not there yet" / "cache" / "numba" / sources_digest()
    assert folder.is_dir()


def test_elsewhere_if_need_be_and_then_it_goes(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with numba_cache(blocked) as folder:
        (folder / "compiled").touch()
    assert not folder.exists()
