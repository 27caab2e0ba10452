"""Who is let in: certificates, identities, bounds. Both ends in memory."""

from datetime import timedelta

import pytest
from aioquic.quic import events as quic
from tests.support.certificates import CLIENT, DAY, SERVER, Authority, Credentials
from tests.support.consumer import FakeConsumer, frame, reply
from tests.support.quic_pair import NODE_URI, Pair, agent_configuration

from telemetry_collector.clock import ManualClock
from telemetry_collector.listeners.quic_aioquic.slots import Slots
from telemetry_collector.listeners.quic_aioquic.trust import Trust
from telemetry_collector.model import CloseCode
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier

TLS = 0x100


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def application(code: CloseCode) -> tuple[int, bool]:
    return int(code), True


def test_a_verified_agent_is_let_in_under_its_identity(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.send(0, frame(b"batch"))
    assert pair.open
    assert [(c.identity, c.node, c.relay) for c in pair.consumer.conversations] == [(NODE_URI, "node-1", False)]
    assert pair.received(0) == reply(1)
    assert pair.count("connections") == 1
    assert pair.count("connections_opened_total") == 1


def test_a_relay_is_told_from_a_node(authority: Authority) -> None:
    pair = Pair(authority, allowlist=AllowList(relays=["spiffe://fleet/*"])).connect()
    pair.send(0, frame(b"batch"))
    assert pair.consumer.conversations[0].relay


def certificate_cases(authority: Authority) -> dict[str, tuple[Credentials | None, int]]:
    now = authority.now
    return {
        "none": (None, 116),
        "other authority": (Authority("Test CA").issue(uri=NODE_URI), 48),
        "signed by itself": (Authority("node-1").issue(uri=NODE_URI), 48),
        "expired": (authority.issue(uri=NODE_URI, not_after=now - timedelta(seconds=1)), 45),
        "not yet valid": (authority.issue(uri=NODE_URI, not_before=now + DAY), 45),
        "server usage only": (authority.issue(uri=NODE_URI, usages=SERVER), 43),
        "no usage": (authority.issue(uri=NODE_URI, usages=None), 43),
    }


@pytest.mark.parametrize(
    "case", ["none", "other authority", "signed by itself", "expired", "not yet valid", "server usage only", "no usage"]
)
def test_a_bad_certificate_gets_its_alert_and_nothing_is_read(authority: Authority, case: str) -> None:
    credentials, alert = certificate_cases(authority)[case]
    pair = Pair(authority, configuration=agent_configuration(authority, credentials))
    send_at_once(pair)
    assert pair.closed == (TLS + alert, False)
    assert pair.consumer.conversations == []
    assert not pair.open
    assert pair.slots.taken == 0


def test_a_revoked_certificate_gets_its_alert_and_nothing_is_read(authority: Authority) -> None:
    credentials = authority.issue(uri=NODE_URI)
    pair = Pair(authority, credentials, revocations=RevocationLists([authority.revocations(credentials.certificate)]))
    send_at_once(pair)
    assert pair.closed == (TLS + 44, False)
    assert pair.consumer.conversations == []
    assert pair.count("handshakes_failed_total", alert="certificate_revoked") == 1


def test_a_stolen_certificate_without_its_key_is_refused(authority: Authority) -> None:
    stolen = Credentials(authority.issue(uri=NODE_URI).certificate, Authority().key)
    pair = Pair(authority, configuration=agent_configuration(authority, stolen))
    send_at_once(pair)
    assert pair.closed == (TLS + 51, False)
    assert pair.consumer.conversations == []


def send_at_once(pair: Pair) -> None:
    """As an impatient agent does: the batch leaves in the same flight as its Finished."""
    pair.agent.send_stream_data(0, frame(b"batch"))
    pair.run()


def test_another_protocol_is_no_application_protocol(authority: Authority) -> None:
    configuration = agent_configuration(authority, authority.issue(uri=NODE_URI), alpn="h3")
    pair = Pair(authority, configuration=configuration).connect()
    assert pair.closed == (TLS + 120, False)
    assert pair.count("handshakes_failed_total", alert="no_application_protocol") == 1


def test_an_identity_that_is_not_allowed_is_told_so_and_not_read(authority: Authority) -> None:
    pair = Pair(authority, allowlist=AllowList(["spiffe://fleet/node-2"]))
    send_at_once(pair)
    assert pair.closed == application(CloseCode.NOT_ALLOWED)
    assert pair.consumer.conversations == []
    assert pair.count("connections_refused_total", reason="not_allowed") == 1
    assert pair.slots.taken == 0


def test_a_certificate_without_a_name_is_not_allowed(authority: Authority) -> None:
    pair = Pair(authority, authority.issue())
    send_at_once(pair)
    assert pair.closed == application(CloseCode.NOT_ALLOWED)


def test_one_connection_too_many_is_told_so_and_not_read(authority: Authority) -> None:
    slots = Slots(1)
    first = Pair(authority, slots=slots).connect()
    second = Pair(authority, slots=slots)
    send_at_once(second)
    assert second.closed == application(CloseCode.TOO_MANY_CONNECTIONS)
    assert second.consumer.conversations == []
    assert first.open
    first.agent.close()
    first.run()
    assert Pair(authority, slots=slots).connect().open


def test_no_ticket_is_ever_given_out(authority: Authority) -> None:
    tickets: list[object] = []
    pair = Pair(authority)
    pair.agent._session_ticket_handler = tickets.append
    pair.agent.tls.new_session_ticket_cb = tickets.append
    pair.connect()
    pair.send(0, frame(b"batch"))
    assert pair.open
    assert tickets == []
    completed = [event for event in pair.heard if isinstance(event, quic.HandshakeCompleted)]
    assert [(event.session_resumed, event.early_data_accepted) for event in completed] == [(False, False)]


def test_a_handshake_that_stands_still_is_given_up(authority: Authority) -> None:
    pair = Pair(authority)
    hello = pair.agent.datagrams_to_send(pair.now)
    for data, address in hello:
        pair.collector.receive(data, address, pair.now)
    pair.collector.process(pair.now)
    deadline = pair.collector.deadline
    while deadline is not None:
        pair.clock.advance(max(deadline - pair.now, 0.0001))
        pair.collector.expire(pair.now)
        pair.collector.transmit(pair.now)
        deadline = pair.collector.deadline
    assert pair.clock.monotonic() < 15
    assert pair.routes == {}
    assert pair.count("handshakes_failed_total", alert="timed_out") == 1


def test_a_certificate_that_runs_out_while_connected_ends_the_connection(authority: Authority) -> None:
    pair = Pair(authority, authority.issue(uri=NODE_URI, not_after=authority.now + timedelta(seconds=90))).connect()
    pair.advance(80)
    assert pair.collector.check_trust()
    pair.advance(11)
    assert not pair.collector.check_trust()
    pair.run()
    assert pair.closed == application(CloseCode.REVOKED)
    assert pair.slots.taken == 0


def test_new_trust_acts_on_an_open_connection(authority: Authority) -> None:
    credentials = authority.issue(uri=NODE_URI)
    pair = Pair(authority, credentials).connect()
    revoked = RevocationLists([authority.revocations(credentials.certificate)])
    for trust, goes_on in [
        (Trust(verifier(authority, pair.clock), AllowList([NODE_URI])), True),
        (Trust(verifier(authority, pair.clock, revoked), AllowList()), False),
    ]:
        pair.trust.trust = trust
        assert pair.collector.check_trust() is goes_on
    pair.run()
    assert pair.closed == application(CloseCode.REVOKED)


@pytest.mark.parametrize("allowlist", [AllowList(["spiffe://other/*"]), AllowList(relays=[])])
def test_a_right_that_is_taken_away_ends_the_connection(authority: Authority, allowlist: AllowList) -> None:
    pair = Pair(authority, allowlist=AllowList(relays=["*"])).connect()
    pair.trust.trust = Trust(verifier(authority, pair.clock), allowlist)
    assert not pair.collector.check_trust()
    pair.run()
    assert pair.closed == application(CloseCode.REVOKED)


def test_trust_that_changes_during_the_handshake_counts(authority: Authority) -> None:
    """The certificate was verified under the old list; by the end of the handshake there is a new one."""
    credentials = authority.issue(uri=NODE_URI)
    pair = Pair(authority, credentials)
    old = pair.trust.trust
    revoked = RevocationLists([authority.revocations(credentials.certificate)])

    class Changing(ClientVerifier):
        def verify(self, *_: object) -> None:
            pair.trust.trust = Trust(verifier(authority, pair.clock, revoked), AllowList())

    pair.trust.trust = Trust(Changing([authority.certificate], clock=pair.clock), old.allowlist)
    send_at_once(pair)
    assert pair.closed == application(CloseCode.REVOKED)
    assert pair.consumer.conversations == []


def verifier(authority: Authority, clock: ManualClock, revocations: RevocationLists | None = None) -> ClientVerifier:
    return ClientVerifier([authority.certificate], revocations, clock=clock)


def test_a_lost_farewell_is_said_again(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(credit=0)).connect()
    lost: list[bytes] = []

    def wire(data: bytes) -> bool:
        lost.append(data)
        return len(lost) > 1

    pair.wire = wire
    pair.send(0, frame(b"over credit"))
    assert pair.closed is None
    pair.agent.send_ping(1)
    pair.run()
    assert pair.closed == application(CloseCode.CREDIT_EXCEEDED)


def test_client_usage_among_others_is_enough(authority: Authority) -> None:
    assert Pair(authority, authority.issue(uri=NODE_URI, usages=[*SERVER, *CLIENT])).connect().open
