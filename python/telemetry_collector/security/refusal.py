"""Why a certificate was refused, in the numbers of TLS."""

from enum import IntEnum


class TlsAlert(IntEnum):
    """The alerts of RFC 8446 that refuse a certificate."""

    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    UNKNOWN_CA = 48
    CERTIFICATE_REQUIRED = 116


class CertificateRefused(Exception):
    """A peer's certificate is not good enough. The listener answers with the alert; the text is for the log."""

    def __init__(self, alert: TlsAlert, problem: str) -> None:
        self.alert = alert
        super().__init__(problem)
