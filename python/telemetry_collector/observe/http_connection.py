"""One connection of the HTTP server: the heads of its requests, as httptools reads them, and their answers.

A request is answered when its head is complete. No request needs a body, so one that comes is thrown away as it is
read. An answer is ready at once, and a connection has one on its way at most: who asks on without taking it is not
answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import cast, final

import httptools

from telemetry_collector.observe.http_message import Answer, Request, error

KEEPALIVE_SECS = 75.0
"""A connection without a whole request is closed after so long: longer than usual scrape intervals."""
ANSWER_SECS_MAX = 30.0
"""A client that has not taken its answer by then loses its connection, and with it the memory that holds the answer."""
LINGER_SECS_MAX = 2.0
"""So long a client may take to end a connection that was ended here. What it sends meanwhile is thrown away: it would
not get the last answer if the system had to say that nobody reads."""
REQUEST_LINE_BYTES_MAX = 8190
HEADER_BYTES_MAX = 8190
"""Of one header field."""
HEADERS_MAX = 64
"""Fields of one request's header."""
HEAD_END = b"\r\n\r\n"
UNREAD_BYTES_MAX = 64 * 1024
"""Of a head that goes on and on, and of what stands between a body's chunks."""
BODY_BYTES_MAX = 1024
"""Of a request."""
VERSIONS = ("1.0", "1.1")
LAST = (HTTPStatus.BAD_REQUEST, HTTPStatus.EXPECTATION_FAILED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
"""Answers to a client that does not mean what is understood here: no further request is looked for."""
SERVER = "telemetry-collector"
"""What answers say of who made them: not what it is made of."""
WORDS_MAX = 200
"""Characters of an error's text."""


@final
class Connection(asyncio.Protocol):
    """Answers the requests of one client, one after the other."""

    def __init__(self, answer: Callable[[Request], Answer], connections: set[Connection]) -> None:
        """`connections` has this one as long as it is open."""
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        """Done when the connection has ended."""
        self._answer = answer
        self._connections = connections
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        # What was received and is not yet read, from a place on; and whether it waits for the loop's next turn.
        self._received = b""
        self._place = 0
        self._waits = False
        # What was just read had the head of a request in it.
        self._answered = False
        # Bytes received since something of a request was last complete.
        self._unread_bytes = 0
        self._body_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._fields = 0
        self._fault: str | None = None
        # The head of a request is complete, its body is not: it has had its answer, and gets no other one.
        self._in_body = False
        # The system has not taken all of the last answer.
        self._unsent = False
        # That was the last answer: nothing that comes is read any more.
        self._ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transport is one without saying so.
        self._transport = transport = cast(asyncio.Transport, transport)
        # Whatever the system does not take at once is told: so it is known that nobody takes an answer.
        transport.set_write_buffer_limits(high=0)
        self._connections.add(self)
        self._within(KEEPALIVE_SECS)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        del exc
        self._connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._received, self._place = self._received[self._place :] + data, 0
        if not self._waits:
            self._read()

    def _read(self) -> None:
        """Reads on until a request has its answer. The next one waits for the loop's next turn, as everybody else has
        to: thousands fit into what is received at once, and a page takes milliseconds to make."""
        assert self._transport is not None, "something was received"
        self._waits = False
        while self._place < len(self._received) and not (self._ending or self._transport.is_closing()):
            place, end = self._place, self._received.find(HEAD_END, self._place)
            self._place = len(self._received) if end < 0 else end + len(HEAD_END)
            self._answered = False
            self._feed(self._received[place : self._place])
            if self._answered and self._place < len(self._received) and not self._ending:
                self._waits = True
                self._transport.pause_reading()
                self._loop.call_soon(self._go_on)
                return
        self._received, self._place = b"", 0
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _go_on(self) -> None:
        try:
            self._read()
        except Exception:
            # As when it is raised where data is received: the loop tells of it, and the connection ends.
            self.abort()
            raise

    def _feed(self, data: bytes) -> None:
        self._unread_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It was answered as any request; another protocol is not spoken here.
            self._end()
        except httptools.HttpParserCallbackError:
            # A defect of ours, which the event loop tells of, and it ends the connection.
            raise
        except httptools.HttpParserError as problem:
            if self._in_body:
                self._end()
            else:
                self._refuse(str(problem).lower()[:WORDS_MAX])
        if self._unread_bytes > UNREAD_BYTES_MAX:
            self._refuse(f"more than {UNREAD_BYTES_MAX} bytes of header")

    def pause_writing(self) -> None:
        """See asyncio."""
        self._unsent = True
        self._within(ANSWER_SECS_MAX)

    def resume_writing(self) -> None:
        """See asyncio."""
        self._unsent = False
        self._within(LINGER_SECS_MAX if self._ending else KEEPALIVE_SECS)

    def close(self) -> None:
        """Ends it when the answer on its way is taken. Safe in any state."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends it now. Safe in any state."""
        if self._transport is not None:
            self._transport.abort()

    # What the parser finds

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers, self._fault = b"", {}, None
        self._fields = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of what is asked for."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field."""
        self._fields += 1
        if len(name) + len(value) > HEADER_BYTES_MAX:
            self._fault = f"a header field of more than {HEADER_BYTES_MAX} bytes"
        elif self._fields > HEADERS_MAX:
            self._fault = f"more than {HEADERS_MAX} header fields"
        else:
            # What may stand around a value is no part of it; the parser leaves what follows it.
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip(" \t")

    def on_headers_complete(self) -> None:
        """The head is complete, so the request is answered."""
        self._unread_bytes = 0
        self._in_body = self._answered = True
        if self._ending:
            return
        if self._unsent:
            self._ending = True
            self.close()
            return
        method = self._parser.get_method().decode("latin-1")
        version = self._parser.get_http_version()
        answer = self._judge(method, version)
        # Who asks for another protocol may go on in it, and chunks in HTTP/1.0 are read in two ways: what follows might
        # be taken for a request that nobody made.
        ambiguous = self._parser.should_upgrade() or (version == "1.0" and "transfer-encoding" in self._headers)
        ends = answer.status in LAST or ambiguous or not self._parser.should_keep_alive()
        self._send(answer, "1.0" if version == "1.0" else "1.1", method, ends=ends)

    def on_body(self, body: bytes) -> None:
        """A piece of what nobody asked for."""
        self._unread_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES_MAX and not self._ending:
            self._end()

    def on_message_complete(self) -> None:
        """The body, too."""
        self._unread_bytes = 0
        self._in_body = False

    # What becomes of it

    def _judge(self, method: str, version: str) -> Answer:
        if version not in VERSIONS:
            return error(505, f"HTTP/{version} is not spoken here; expected HTTP/1.1 or HTTP/1.0")
        if len(self._url) > REQUEST_LINE_BYTES_MAX:
            self._fault = f"more than {REQUEST_LINE_BYTES_MAX} bytes of address"
        if self._fault is not None:
            return error(400, self._fault)
        if self._headers.get("expect", "100-continue").lower() != "100-continue":
            return error(417, "the header Expect asks for something else than 100-continue")
        try:
            path = httptools.parse_url(self._url).path or b"/"
        except httptools.HttpParserInvalidURLError:
            return error(400, "what is asked for is no address")
        return self._answer(Request(method, path.decode(errors="replace"), self._headers))

    def _refuse(self, words: str) -> None:
        """Answers what breaks HTTP's rules."""
        if self._ending or self._transport is None:
            return
        self._send(error(400, words), "1.1", "GET", ends=True)

    def _send(self, answer: Answer, version: str, method: str, *, ends: bool) -> None:
        assert self._transport is not None, "a request has come"
        fields = {
            "Server": SERVER,
            "Date": formatdate(usegmt=True),
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            **answer.headers,
        }
        if ends:
            fields["Connection"] = "close"
        elif version == "1.0":
            fields["Connection"] = "keep-alive"
        lines = [f"HTTP/{version} {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        self._transport.writelines([head] if method == "HEAD" else [head, answer.body])
        if ends:
            self._end()
        elif not self._unsent:
            self._within(KEEPALIVE_SECS)

    def _end(self) -> None:
        """Says that nothing more comes from here, and leaves the rest to the client."""
        if self._ending or self._transport is None:
            return
        self._ending = True
        if not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:
                # The client has broken the connection off, which asyncio's own loop tells here first.
                self.abort()
                return
        if not self._unsent:
            self._within(LINGER_SECS_MAX)

    def _within(self, secs: float) -> None:
        """After so long the connection ends, unless another deadline takes this one's place."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(secs, self.abort)
