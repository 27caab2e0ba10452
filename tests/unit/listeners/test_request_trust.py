"""Which certificates receivers let in, and for how long a verdict holds."""

from datetime import timedelta

import pytest
from tests.support.certificates import Authority, pem

from telemetry_collector.clock import ManualClock
from telemetry_collector.listeners.requests import peers
from telemetry_collector.listeners.requests.peers import PeerDenied, Trust
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

NODE = "spiffe://telemetry/node/node-1"


def trust_of(authority: Authority, clock: ManualClock, allowlist: AllowList | None = None) -> Trust:
    return Trust(ClientVerifier([authority.certificate], clock=clock), allowlist or AllowList(), clock)


def clock_of(authority: Authority) -> ManualClock:
    return ManualClock(unix_secs=authority.now.timestamp())


def test_a_certificate_is_judged_anew_when_it_has_run_out() -> None:
    authority = Authority()
    clock = clock_of(authority)
    shown = pem(authority.issue(uri=NODE, not_after=authority.now + timedelta(hours=1)).certificate)
    trust = trust_of(authority, clock)
    peer = trust.peer_of(shown)
    assert (peer.identity, peer.node, peer.relay) == (NODE, "node-1", False)
    clock.advance(3599)
    assert trust.peer_of(shown) is peer
    clock.advance(2)
    with pytest.raises(PeerDenied, match="refused: valid from"):
        trust.peer_of(shown)


def test_who_may_send_is_judged_anew_after_a_change() -> None:
    authority = Authority()
    clock = clock_of(authority)
    shown = pem(authority.issue(uri=NODE).certificate)
    trust = trust_of(authority, clock)
    assert not trust.peer_of(shown).relay
    trust.update(ClientVerifier([authority.certificate], clock=clock), AllowList(relays=["*node-1"]))
    assert trust.peer_of(shown).relay
    trust.update(ClientVerifier([authority.certificate], clock=clock), AllowList(["*node-2"]))
    with pytest.raises(PeerDenied, match="allowed_identities"):
        trust.peer_of(shown)


def test_strangers_and_garbage_are_denied() -> None:
    authority = Authority()
    trust = trust_of(authority, clock_of(authority))
    for shown, problem in [
        (pem(Authority("Other").issue(uri=NODE).certificate), "no authority that is trusted"),
        (pem(authority.issue(uri=NODE, usages=None).certificate), "clientAuth"),
        (pem(authority.issue().certificate), "no identity"),
        (b"-----garbage", "damaged"),
        (b"\x30\x01", "damaged"),
    ]:
        with pytest.raises(PeerDenied, match=problem):
            trust.peer_of(shown)


def test_verdicts_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "CERTIFICATES_KNOWN_MAX", 2)
    authority = Authority()
    trust = trust_of(authority, clock_of(authority))
    for number in range(5):
        assert trust.peer_of(pem(authority.issue(uri=f"spiffe://telemetry/node/{number}").certificate))
        assert len(trust._known) <= 2
