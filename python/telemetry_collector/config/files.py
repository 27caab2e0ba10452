"""Certificate files as types of keys: a document's are read when it is loaded, so that a mistake shows before a start.

Only what a file holds is checked here: whether a certificate is trusted, valid today or allowed is the matter of
`telemetry_collector.security`. Nothing is checked unless the validation's context asks for it (see `document`): a
section built in code, or an example, may name files that are not there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, ValidationInfo

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

FILE_BYTES_MAX = 16 * 1024 * 1024
"""A certificate file is not read when it is larger; revocation lists of big fleets stay far below."""

CHECK_FILES = "check_files"
"""Key of the validation context that turns the checks on."""


def checks_files(info: ValidationInfo) -> bool:
    """Whether this validation looks into files."""
    return bool(info.context and info.context.get(CHECK_FILES))


def _read(path: Path) -> bytes:
    advice = f"`telemetry-collector certs init --dir {path.parent}` makes a set for development"
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(f"{path} is larger than {FILE_BYTES_MAX} bytes; expected a PEM file")
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"cannot read {path}: {reason}; expected a readable PEM file ({advice})") from error


def read_certificates(path: Path) -> list["Certificate"]:
    """The certificates of a PEM file, at least one. ValueError names the file and says what would be right."""
    from cryptography.x509 import load_pem_x509_certificates

    data = _read(path)
    try:
        return load_pem_x509_certificates(data)
    except ValueError as error:
        raise ValueError(f"{path} holds no certificate; expected a PEM block BEGIN CERTIFICATE") from error


def read_private_key(path: Path) -> "PrivateKeyTypes":
    """The unencrypted private key of a PEM file. ValueError as in `read_certificates`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        return load_pem_private_key(data, password=None)
    except TypeError as error:
        raise ValueError(f"{path} is encrypted; expected a key without a password, in a file of mode 0600") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} holds no private key; expected a PEM block BEGIN PRIVATE KEY") from error


def _check_revocations(path: Path) -> None:
    from cryptography.x509 import load_pem_x509_crl

    data = _read(path)
    try:
        load_pem_x509_crl(data)
    except ValueError as error:
        raise ValueError(f"{path} holds no revocation list; expected a PEM block BEGIN X509 CRL") from error


def _checked_by(check: Callable[[Path], object]) -> AfterValidator:
    def validate(path: Path, info: ValidationInfo) -> Path:
        if checks_files(info):
            check(path)
        return path

    return AfterValidator(validate)


CertificateFile = Annotated[Path, _checked_by(read_certificates)]
"""A PEM file with one or more certificates."""

KeyFile = Annotated[Path, _checked_by(read_private_key)]
"""A PEM file with an unencrypted private key."""

RevocationFile = Annotated[Path, _checked_by(_check_revocations)]
"""A PEM file with a certificate revocation list."""
