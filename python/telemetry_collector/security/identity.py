"""Who a peer is: the identity that its certificate gives it, and the node that this identity may speak for."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.x509.oid import NameOID

IDENTITY_BYTES_MAX = 1_024
"""A longer identity or node is none: it stands in every journal record, and a tag's value is not longer either."""

# RFC 3986, appendix B: any text falls into these parts, so that a strange URI has a node or none, and raises nothing.
_URI = re.compile(r"(?:[^:/?#]+:)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)(?:\?[^#]*)?(?:#.*)?", re.DOTALL)
_CONTROL = re.compile("[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer that proved its certificate."""

    name: str
    """The first URI among the certificate's subject alternative names, else its first DNS name, else its last CN."""

    node: str
    """What `node_id` of its points must be: the URI's last path segment (or host), the DNS name, or the CN."""

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self | None:
        """The identity of a certificate; None when it has none, or one that could not be stored as a tag."""
        for name, node in _candidates(certificate):
            if not name:
                continue
            return cls(name, node) if node and _storable(name) and _storable(node) else None
        return None


def _candidates(certificate: x509.Certificate) -> list[tuple[str, str | None]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        hosts = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        uris, hosts = [], []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return []
    common = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [
        *((uri, _node_of_uri(uri)) for uri in uris[:1]),
        *((host, host) for host in hosts[:1]),
        *((name, name) for name in common[-1:]),
    ]


def _node_of_uri(uri: str) -> str | None:
    parts = _URI.fullmatch(uri)
    if parts is None:
        return None
    segments = [segment for segment in parts["path"].split("/") if segment]
    try:
        return unquote_to_bytes(segments[-1] if segments else _host(parts["authority"] or "")).decode()
    except UnicodeDecodeError:
        return None


def _host(authority: str) -> str:
    host = authority.rpartition("@")[2]
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _storable(text: str) -> bool:
    return len(text.encode(errors="replace")) <= IDENTITY_BYTES_MAX and _CONTROL.search(text) is None
