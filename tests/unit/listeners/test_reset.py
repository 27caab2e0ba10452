"""A peer whose connection is gone is told so, and by nobody else than the collector."""

from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.quic_pair import Pair

from telemetry_collector.listeners.reset import TOKEN_BYTES, ResetTokens

CONNECTION_ID = b"8 bytes!"


def test_a_restarted_collector_makes_the_same_tokens_and_another_one_does_not(tmp_path: Path) -> None:
    key = tmp_path / "server.key"
    key.write_bytes(b"secret")
    token = ResetTokens.of_key_file(key).token(CONNECTION_ID)
    assert len(token) == TOKEN_BYTES
    assert ResetTokens.of_key_file(key).token(CONNECTION_ID) == token
    assert ResetTokens.of_key_file(key).token(b"another!") != token
    assert ResetTokens(b"other secret").token(CONNECTION_ID) != token


@pytest.mark.parametrize("received", range(1, 1_300, 7))
def test_an_answer_is_smaller_than_what_it_answers_and_looks_like_any_packet(received: int) -> None:
    tokens = ResetTokens(b"secret")
    answer = tokens.answer(CONNECTION_ID, received)
    if received < 22:
        assert answer is None
        return
    assert answer is not None
    assert 21 <= len(answer) < received
    assert answer[0] & 0xC0 == 0x40, "a short header with the fixed bit"
    assert answer.endswith(tokens.token(CONNECTION_ID))


def test_an_agent_knows_the_tokens_of_all_its_connection_ids() -> None:
    pair = Pair(Authority()).connect()
    known = [pair.agent._peer_cid, *pair.agent._peer_cid_available]
    assert len(known) > 1, "there are some to migrate to"
    assert all(each.stateless_reset_token == pair.resets.token(each.cid) for each in known)
