"""place: a folder through its handle."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from queuectl.inbox.place import Place
from queuectl.system import files


@pytest.mark.skipif(sys.platform == "win32", reason="a path is used there")
def test_each_listing_has_a_handle_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSHFS without its cache lists nothing a second time by the same handle, so files would stay in working/."""
    (tmp_path / "a").touch()
    listed: list[object] = []
    names, marked_names = files.names, files.marked_names
    monkeypatch.setattr(files, "names", lambda folder: listed.append(folder) or names(folder))
    monkeypatch.setattr(files, "marked_names", lambda folder: listed.append(folder) or marked_names(folder))
    with Place(str(tmp_path), files.open_folder_in(str(tmp_path), at=None, to_list=True)) as place:
        assert [place.names(), place.marked_names(), place.names()] == [["a"]] * 3
        assert listed.count(place.at) == 1
