"""Make and check the keys of a cluster: a CA, and a certificate each for the spool, the scheduler and the nodes.

A party needs two files of the folder: `ca.pem`, and its own `NAME.pem` with its certificate and its private key. The
private key of the CA is never stored, so nobody can add a certificate later: a new folder replaces all of them.

TLS has no roles here: whoever holds one of the private keys can run commands on every node (docs/security.md). So a
private key that other users can read is refused, as P10 refuses a spool that they can write to.
"""

from __future__ import annotations

import datetime
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from queuectl.errors import ClusterError, UntrustedSpoolError
from queuectl.spool import trust
from queuectl.system import disk

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SPOOL, SCHEDULER, NODE = "spool", "scheduler", "node"
PARTIES = (SPOOL, SCHEDULER, NODE)
CA_NAME = "ca.pem"
# Apple's systems refuse a certificate of a server that is valid for longer.
VALID_DAYS = 825
# A party whose clock is behind accepts new certificates too.
_BACKDATED = datetime.timedelta(hours=1)
EXTRA = 'pip install "queuectl-spool[dask]"'
_RENEW_HINT = "make new keys with `queuectl cluster keys FOLDER`, and copy them to all machines of the cluster"


class KeyFiles(NamedTuple):
    """The files of one party, checked: the certificate of the CA, and its own certificate with the private key."""

    ca: str
    own: str


def file_name(party: str) -> str:
    """Return the name of the file that holds a party's certificate and private key."""
    return f"{party}.pem"


def make(folder: str) -> list[str]:
    """Create the keys in a new or empty folder, which only this user can read; return the paths of the files.

    Raises:
        ClusterError: the library is missing, or the folder already has keys.
    """
    _need_library()
    wanted = [os.path.join(folder, name) for name in (CA_NAME, *map(file_name, PARTIES))]
    for path in wanted:
        if os.path.lexists(path):
            raise ClusterError(
                f"{path} already exists; nothing was written",
                cause="machines that use these keys would not reach each other any more",
                hint="give the name of a new folder",
            )
    disk.make_folder(os.path.abspath(folder), mode=disk.PRIVATE_FOLDER_MODE)
    for path, text in zip(wanted, _texts(), strict=True):
        disk.create(path, text, sync=True)
    return wanted


def _texts() -> list[bytes]:
    """Return the content of the files: first the CA's, then one for each of PARTIES."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    start = datetime.datetime.now(datetime.UTC)

    def name(party: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"queuectl {party}")])

    def certificate(party: str, public: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=not is_ca,
            key_cert_sign=is_ca,
            crl_sign=is_ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(party))
            .issuer_name(name("cluster"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - _BACKDATED)
            .not_valid_after(start + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        return builder.sign(signer, hashes.SHA256())

    signer = ec.generate_private_key(ec.SECP256R1())
    texts = [certificate("cluster", signer.public_key(), is_ca=True).public_bytes(serialization.Encoding.PEM)]
    for party in PARTIES:
        own = ec.generate_private_key(ec.SECP256R1())
        private = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        texts.append(
            certificate(party, own.public_key(), is_ca=False).public_bytes(serialization.Encoding.PEM) + private
        )
    return texts


def check(folder: str, party: str) -> KeyFiles:
    """Return the files of a party if they can be used now.

    Raises:
        ClusterError: the library or a file is missing, a file is damaged, a certificate has expired or is not the CA's.
        UntrustedSpoolError: other users can read the private key, or replace a file.
    """
    _need_library()
    files = KeyFiles(os.path.join(folder, CA_NAME), os.path.join(folder, file_name(party)))
    for path in files:
        trust.check_folders(path, why="could replace the keys of the cluster")
    _check_private(files.own)
    authority = certificate_at(files.ca)
    own = certificate_at(files.own)
    for path, each in zip(files, (authority, own), strict=True):
        _check_dates(path, each)
    _check_pair(files, authority, own)
    return files


def last_day(path: str) -> datetime.datetime:
    """Return when the certificate at `path` expires (UTC). Raises ClusterError."""
    found: datetime.datetime = certificate_at(path).not_valid_after_utc
    return found


def certificate_at(path: str) -> Certificate:
    """Return the first certificate of a PEM file. Raises ClusterError if there is none."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise ClusterError(
            f"{path} is not a certificate", cause=str(error).splitlines()[0][:200], hint=_RENEW_HINT
        ) from error


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ClusterError(
            f"{path}: {error.strerror or error}",
            cause="each machine needs ca.pem and the file of its part, both from one `queuectl cluster keys`",
            hint=f"copy both files to {os.path.dirname(path) or '.'}, or make keys: queuectl cluster keys FOLDER",
        ) from error


def _check_private(path: str) -> None:
    """Refuse a private key that other users can read."""
    if sys.platform == "win32":
        return  # the folder's access list decides
    try:
        info = os.stat(path)
    except OSError:
        return  # `_read` says so
    if info.st_mode & 0o077:
        raise UntrustedSpoolError(
            path,
            what=f"refusing to use {path}",
            cause="other users can read this private key; whoever has it can run commands on every node",
            hint=f"chmod 600 {trust.quoted(path)}; if others may have read it, make new keys",
        )


def _check_dates(path: str, found: Certificate) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now > found.not_valid_after_utc:
        raise ClusterError(f"the certificate {path} expired on {found.not_valid_after_utc:%Y-%m-%d}", hint=_RENEW_HINT)
    if now < found.not_valid_before_utc:
        raise ClusterError(
            f"the certificate {path} is not valid before {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            hint="check the clock of this machine",
        )


def _check_pair(files: KeyFiles, authority: Certificate, own: Certificate) -> None:
    """Refuse a certificate of another CA, and a private key of another certificate."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization

    try:
        own.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise ClusterError(
            f"{files.ca} did not sign {files.own}",
            cause="the files are from different calls of `queuectl cluster keys`",
            hint="copy both files from the same folder",
        ) from error
    try:
        private = serialization.load_pem_private_key(_read(files.own), None)
    except (ValueError, TypeError) as error:
        raise ClusterError(f"{files.own} has no private key", hint=_RENEW_HINT) from error
    if private.public_key() != own.public_key():
        raise ClusterError(f"the private key in {files.own} does not fit its certificate", hint=_RENEW_HINT)


def _need_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise ClusterError("the library cryptography is not installed", hint=EXTRA) from error
