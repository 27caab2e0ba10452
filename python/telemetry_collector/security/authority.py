"""A certificate authority in a directory, for development and small fleets. Keys are EC P-256.

    ca.pem  ca.key        the authority; whoever has the key can make certificates
    ca.crl                its revocation list, signed anew at each revocation
    server.pem .key       the collector's certificate
    node.pem .key         the first node's certificate
    NODE.pem .key         those issued later
    issued.json           what was issued and revoked; the list is made from it

Every file appears whole or not at all, keys with mode 0600. One process at a time changes the directory. A node's name
stands in its certificate as the URI `spiffe://telemetry/node/NODE` and as the common name.
"""

import fcntl
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.issuing import (
    Kind,
    certificate_pem,
    dns_name,
    host_name,
    new_authority,
    new_key,
    private_key_pem,
    revocation_list,
    signed,
    uri_name,
)

CERTIFICATE_DAYS = 365
DAYS_MAX = 3_650

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")  # a file's name, and a CN has at most 64
_OWN = ("ca", "issued")  # names of the authority's own files
_FILES = ("ca.pem", "ca.key", "ca.crl", "issued.json")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of this authority."""

    name: str
    kind: Kind
    serial: str
    """Hexadecimal, as other tools print it."""
    file: str
    """The certificate's file in the directory; a later certificate may have taken its place."""
    not_after: str
    revoked_at: str | None = None


@dataclass(frozen=True, slots=True)
class _State:
    issued: tuple[Issued, ...] = ()
    crl_number: int = 0


class Authority:
    """An authority that exists. Its methods raise CertificateError with a text for the user."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.directory = directory
        self._clock = clock or SystemClock()

    @classmethod
    def create(cls, directory: Path, *, force: bool = False, clock: Clock | None = None) -> tuple[Self, bool]:
        """Makes an authority with an empty revocation list, or opens the one that is there; tells whether it made one.

        With `force` an existing one is replaced: everything it issued becomes worthless, and is forgotten.
        """
        authority = cls(directory, clock)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CertificateError(f"cannot make the directory {directory}: {_words(error)}") from error
        with authority._locked():
            missing = authority._missing()
            if not force and not missing:
                return authority, False
            if not force and len(missing) < len(_FILES):
                raise CertificateError(
                    f"{directory} holds part of a certificate authority: {', '.join(missing)} is missing; "
                    "put it back, or replace the authority and all it issued with --force"
                )
            certificate, key = new_authority(authority._now())
            _write(directory / "ca.key", private_key_pem(key), 0o600)
            _write(directory / "ca.pem", certificate_pem(certificate), 0o644)
            authority._save(_State())
        return authority, True

    @classmethod
    def open(cls, directory: Path, clock: Clock | None = None) -> Self:
        """The authority in a directory."""
        authority = cls(directory, clock)
        if not authority._complete():
            raise CertificateError(
                f"there is no certificate authority in {directory}; "
                f"`telemetry-collector certs init --dir {directory}` makes one"
            )
        return authority

    def issue_server(
        self, name: str, hosts: Sequence[str] = (), *, file: str | None = None, days: int = CERTIFICATE_DAYS,
        force: bool = False,
    ) -> Issued:  # fmt: skip
        """A certificate for a collector that is reached under `hosts`: names and IP addresses."""
        names = [host_name(host) for host in dict.fromkeys(hosts)]
        if not names:
            raise CertificateError(f"a server's certificate needs a host name or address; none was given for {name!r}")
        return self._issue(name, "server", names, file or name, days, force)

    def issue_node(
        self, node: str, *, uris: Sequence[str] = (), dns: Sequence[str] = (), file: str | None = None,
        days: int = CERTIFICATE_DAYS, force: bool = False,
    ) -> Issued:  # fmt: skip
        """A certificate for a node's agent; its names are `uris` and `dns`, or the usual URI when both are empty."""
        names: list[x509.GeneralName] = [uri_name(uri) for uri in uris]
        names += [dns_name(host) for host in dns]
        if not names:
            names = [uri_name(f"spiffe://telemetry/node/{node}")]
        return self._issue(node, "node", names, file or node, days, force)

    def revoke(self, name_or_serial: str) -> tuple[Issued, ...]:
        """Revokes every certificate of a node or server, or the one with a serial, and signs the list anew.

        Returns those newly revoked; none when all of them were revoked before.
        """
        with self._locked():
            state = self._load()
            serial = name_or_serial.replace(":", "").lower().removeprefix("0x").lstrip("0")
            meant = {entry.serial for entry in state.issued if entry.name == name_or_serial or entry.serial == serial}
            if not meant:
                raise CertificateError(
                    f"{name_or_serial!r} names no certificate that {self.directory} has issued; "
                    "`telemetry-collector certs show` lists them"
                )
            now = self._now().isoformat()
            after = tuple(
                replace(entry, revoked_at=now) if entry.serial in meant and entry.revoked_at is None else entry
                for entry in state.issued
            )
            # Signed even if nothing changed: that mends a list that was lost, or whose signing was cut short.
            self._save(_State(after, state.crl_number))
            return tuple(new for old, new in zip(state.issued, after, strict=True) if old != new)

    @property
    def issued(self) -> tuple[Issued, ...]:
        """Everything issued and revoked, oldest first."""
        return self._load().issued

    def _issue(
        self, name: str, kind: Kind, names: Sequence[x509.GeneralName], file: str, days: int, force: bool
    ) -> Issued:
        if not _NAME.fullmatch(name):
            raise CertificateError(
                f"{name!r} cannot name a certificate; expected 1 to 64 letters, digits, dots, hyphens and underscores, "
                "a letter or digit first and last"
            )
        if not _NAME.fullmatch(file) or file in _OWN:
            raise CertificateError(f"{file!r} cannot name a certificate's file here; expected another name")
        if not 1 <= days <= DAYS_MAX:
            raise CertificateError(f"a certificate cannot be valid for {days} days; expected 1 to {DAYS_MAX}")
        with self._locked():
            state = self._load()
            for path in (self.directory / f"{file}.pem", self.directory / f"{file}.key"):
                if path.exists() and not force:
                    raise CertificateError(f"{path} exists; expected another name, or --force to replace it")
            authority, authority_key = self._authority()
            key = new_key()
            certificate = signed(authority, authority_key, key.public_key(), name, kind, names, self._now(), days)
            _write(self.directory / f"{file}.key", private_key_pem(key), 0o600)
            _write(self.directory / f"{file}.pem", certificate_pem(certificate), 0o644)
            issued = Issued(
                name, kind, f"{certificate.serial_number:x}", f"{file}.pem", certificate.not_valid_after_utc.isoformat()
            )
            self._save(_State((*state.issued, issued), state.crl_number), sign=False)
        return issued

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate_path, key_path = self.directory / "ca.pem", self.directory / "ca.key"
        try:
            certificate = x509.load_pem_x509_certificate(_read(certificate_path))
            key = serialization.load_pem_private_key(_read(key_path), password=None)
        except (ValueError, TypeError) as error:
            raise CertificateError(f"{certificate_path} or {key_path} is damaged: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificateError(f"{key_path} is not the key of {certificate_path}; expected the two made together")
        return certificate, key

    def _complete(self) -> bool:
        return not self._missing()

    def _missing(self) -> list[str]:
        return [name for name in _FILES if not (self.directory / name).is_file()]

    def _load(self) -> _State:
        path = self.directory / "issued.json"
        try:
            values = json.loads(_read(path))
            return _State(tuple(Issued(**entry) for entry in values["issued"]), int(values["crl_number"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CertificateError(f"{path} is damaged: {error}") from error

    def _save(self, state: _State, *, sign: bool = True) -> None:
        """Writes what was issued before the list that is made from it: a list is never ahead of its record."""
        if sign:
            state = replace(state, crl_number=state.crl_number + 1)
        values = {"crl_number": state.crl_number, "issued": [asdict(entry) for entry in state.issued]}
        _write(self.directory / "issued.json", json.dumps(values, indent=2).encode() + b"\n", 0o644)
        if sign:
            authority, key = self._authority()
            revoked = {int(entry.serial, 16): entry.revoked_at for entry in state.issued}
            dates = {serial: datetime.fromisoformat(date) for serial, date in revoked.items() if date is not None}
            signed_list = revocation_list(authority, key, state.crl_number, dates, self._now())
            _write(self.directory / "ca.crl", signed_list.public_bytes(serialization.Encoding.PEM), 0o644)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self._clock.unix_secs()), UTC)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise CertificateError(f"cannot open the directory {self.directory}: {_words(error)}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Files:
    """What a collector and an agent need to know each other."""

    ca: Path
    crl: Path
    server_certificate: Path
    server_key: Path
    node_certificate: Path
    node_key: Path
    made: tuple[str, ...]
    """Which of `ca`, `server` and `node` are new; the others were there."""


def set_up(
    directory: Path,
    *,
    name: str | None = None,
    hosts: Sequence[str] = (),
    node: str | None = None,
    force: bool = False,
    clock: Clock | None = None,
) -> Files:
    """Makes what is missing of an authority, a server's certificate and a first node's, and nothing else.

    The server's is for this machine's names and `hosts`; `name` and `node` are this machine's name by default. With
    `force` everything is replaced. Raises CertificateError, also where a certificate is there but not its authority.
    """
    pairs = {kind: (directory / f"{kind}.pem", directory / f"{kind}.key") for kind in ("server", "node")}
    stray = [path for pair in pairs.values() for path in pair if path.exists()]
    if stray and not (directory / "ca.pem").exists() and not force:
        raise CertificateError(
            f"{stray[0]} exists without the authority that issued it; expected an empty directory, or --force to "
            "replace it"
        )
    authority, new = Authority.create(directory, force=force, clock=clock)
    made = ["ca"] if new else []
    name, node = name or local_name(), node or local_name()
    if force or not all(path.exists() for path in pairs["server"]):
        authority.issue_server(name, (*local_hosts(), name, *hosts), file="server", force=force)
        made.append("server")
    if force or not all(path.exists() for path in pairs["node"]):
        authority.issue_node(node, file="node", force=force)
        made.append("node")
    return Files(directory / "ca.pem", directory / "ca.crl", *pairs["server"], *pairs["node"], tuple(made))


def local_hosts() -> tuple[str, ...]:
    """What a collector on this machine is reached under from itself, and its own name."""
    return tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", local_name())))


def local_name() -> str:
    """This machine's name, made fit to name a certificate."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:64].strip(".-") or "localhost"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {_words(error)}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says, not even for a moment."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CertificateError(f"cannot write {path}: {_words(error)}") from error


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
