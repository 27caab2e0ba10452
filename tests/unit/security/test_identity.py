"""Who a certificate says its peer is."""

import pytest
from tests.support.certificates import Authority

from telemetry_collector.security.identity import IDENTITY_BYTES_MAX, Identity


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_a_uri_comes_before_a_dns_name_and_a_dns_name_before_a_common_name(authority: Authority) -> None:
    full = authority.issue(uri="spiffe://fleet/node-1", dns="node-2.example", names=["node-3"])
    named = authority.issue(dns="node-2.example", names=["node-3"])
    common = authority.issue(names=["first", "last"])
    assert Identity.of(full.certificate) == Identity("spiffe://fleet/node-1", "node-1")
    assert Identity.of(named.certificate) == Identity("node-2.example", "node-2.example")
    assert Identity.of(common.certificate) == Identity("last", "last")
    assert Identity.of(authority.issue().certificate) is None


@pytest.mark.parametrize(
    ("uri", "node"),
    [
        ("spiffe://fleet/region/eu/node-1", "node-1"),
        ("spiffe://fleet/node-1/", "node-1"),
        ("spiffe://fleet//node-1//", "node-1"),
        ("spiffe://fleet/node%201", "node 1"),
        ("spiffe://fleet/a%2Fb", "a/b"),
        ("spiffe://fleet/n%C3%B6de", "nöde"),
        ("spiffe://fleet/node-1?zone=a#top", "node-1"),
        ("spiffe://node-1", "node-1"),
        ("spiffe://node-1/", "node-1"),
        ("https://user@node-1:8443", "node-1"),
        ("https://[2001:db8::1]:8443/", "[2001:db8::1]"),
        ("urn:node:1", "node:1"),
        ("node-1", "node-1"),
        # A closing bracket is missing, or the percent sign stands for itself: strange, but no reason to fail.
        ("https://[2001:db8::1", ""),
        ("spiffe://fleet/50%", "50%"),
    ],
)
def test_a_uri_names_its_last_segment_or_its_host(authority: Authority, uri: str, node: str) -> None:
    expected = Identity(uri, node) if node else None
    assert Identity.of(authority.issue(uri=uri).certificate) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://",
        "spiffe:///",
        "spiffe://fleet/%FF",
        "spiffe://fleet/node%0A1",
        "spiffe://fleet/%7F",
        "spiffe://fleet/" + "x" * IDENTITY_BYTES_MAX,
    ],
)
def test_a_name_that_could_not_be_stored_is_none_and_no_other_takes_its_place(authority: Authority, uri: str) -> None:
    assert Identity.of(authority.issue(uri=uri, dns="node-2.example", names=["node-3"]).certificate) is None
