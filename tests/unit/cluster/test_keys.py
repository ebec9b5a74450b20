"""The keys of a cluster: who may read them, and which are refused before anything connects."""

from __future__ import annotations

import datetime
import os
import stat
import sys
from pathlib import Path

import pytest

from queuectl.cluster import keys
from queuectl.errors import ClusterError, UntrustedSpoolError

pytest.importorskip("cryptography", reason="the extra dask is not installed")
posix = pytest.mark.skipif(sys.platform == "win32", reason="the folder's access list decides")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder with new keys."""
    made = str(tmp_path / "keys")
    keys.make(made)
    return made


@pytest.mark.parametrize("party", keys.PARTIES)
def test_new_keys_are_good_for_each_party(folder: str, party: str) -> None:
    """A party uses the CA's certificate and its own file, for 825 days."""
    found = keys.check(folder, party)
    assert [os.path.basename(path) for path in found] == ["ca.pem", f"{party}.pem"]
    left = keys.last_day(found.own) - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=824) < left < datetime.timedelta(days=826)


@posix
def test_only_the_user_can_read_new_keys(folder: str) -> None:
    """P10: the folder is 0700 and each file 0600; the private key of the CA is nowhere."""
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    for name in os.listdir(folder):
        assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600
    assert b"PRIVATE" not in (Path(folder) / "ca.pem").read_bytes()


def test_keys_are_never_overwritten(folder: str) -> None:
    """A second call changes nothing, because the machines of a cluster would lose each other."""
    before = {path: path.read_bytes() for path in Path(folder).iterdir()}
    with pytest.raises(ClusterError, match=r"ca\.pem already exists"):
        keys.make(folder)
    assert {path: path.read_bytes() for path in Path(folder).iterdir()} == before


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_private_key_that_others_can_read_is_refused(folder: str, mode: int) -> None:
    """P10: whoever reads it can run commands on every node."""
    path = Path(folder) / "node.pem"
    path.chmod(mode)
    with pytest.raises(UntrustedSpoolError, match="refusing to use") as caught:
        keys.check(folder, keys.NODE)
    assert caught.value.hint.startswith(f"chmod 600 {path}")


@posix
def test_keys_that_others_can_replace_are_refused(folder: str) -> None:
    """P10: another user must not choose the CA."""
    Path(folder).chmod(0o777)
    with pytest.raises(UntrustedSpoolError):
        keys.check(folder, keys.SPOOL)


def test_a_certificate_of_another_ca_is_refused(folder: str, tmp_path: Path) -> None:
    """Files of two calls do not fit, and the error names both."""
    keys.make(str(tmp_path / "other"))
    (Path(folder) / "node.pem").write_bytes((tmp_path / "other" / "node.pem").read_bytes())
    with pytest.raises(ClusterError, match=r"ca\.pem did not sign .*node\.pem"):
        keys.check(folder, keys.NODE)


def test_a_private_key_of_another_certificate_is_refused(folder: str) -> None:
    """A file that was put together by hand is noticed before TLS fails."""
    own, other = (
        (Path(folder) / f"{party}.pem").read_text().partition("-----BEGIN PRIV") for party in ("node", "spool")
    )
    (Path(folder) / "node.pem").write_text(own[0] + other[1] + other[2])
    with pytest.raises(ClusterError, match="does not fit its certificate"):
        keys.check(folder, keys.NODE)


def test_an_expired_certificate_is_refused(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file and its last day."""
    monkeypatch.setattr(keys, "VALID_DAYS", -1)
    monkeypatch.setattr(keys, "_BACKDATED", datetime.timedelta(days=3))
    old = str(tmp_path / "old")
    keys.make(old)
    with pytest.raises(ClusterError, match=r"ca\.pem expired on 20"):
        keys.check(old, keys.SCHEDULER)


@pytest.mark.parametrize("name", ["ca.pem", "spool.pem"])
def test_missing_and_damaged_files_are_named(folder: str, name: str) -> None:
    """The error says which file a party needs."""
    path = Path(folder) / name
    path.write_text("nothing")
    with pytest.raises(ClusterError, match=f"{name} is not a certificate"):
        keys.check(folder, keys.SPOOL)
    path.unlink()
    with pytest.raises(ClusterError, match=name):
        keys.check(folder, keys.SPOOL)
