"""Checks of real ports."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
from tests.support.checks import look

from telemetry_collector.agent.monitors import tcp
from telemetry_collector.agent.monitors.outcome import Reason, State


async def test_a_port_accepts_or_does_not(unused_tcp_port: int) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        assert (await look("tcp", address=f"127.0.0.1:{port}")).state is State.UP
        assert (await look("tcp", address=f"localhost:{port}")).state is State.UP, "by whichever address it has"
    closed = await look("tcp", address=f"127.0.0.1:{unused_tcp_port}")
    assert (closed.state, closed.reason) == (State.DOWN, Reason.CONNECT)
    assert (await look("tcp", address="a..b:80")).reason is Reason.NAME


async def test_an_address_that_never_answers_does_not_keep_the_others_from_being_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def both(*_: object) -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1")]

    monkeypatch.setattr(tcp, "addresses", both)
    with socket.socket() as silent, ExitStack() as waiting:
        silent.bind(("127.0.0.2", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        for _ in range(4):  # nobody accepts: the queue is full, and the kernel drops what else comes
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(("127.0.0.2", port))
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
            assert (await look("tcp", address=f"name:{port}", timeout_secs=1)).state is State.UP
        assert (await look("tcp", address=f"name:{port}", timeout_secs=1)).reason is Reason.CONNECT
