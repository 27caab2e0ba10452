"""Whether a web server answers as expected, and how long its certificate is good."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509

from telemetry_collector import __version__
from telemetry_collector.agent.monitors.calls import Calls, addresses
from telemetry_collector.agent.monitors.config import HttpCheckConfig
from telemetry_collector.agent.monitors.outcome import CheckFailed, Finding, Reason

BODY_BYTES_MAX = 64 * 1024
"""A body is read so far, and searched."""

_DAY_SECS = 86_400.0
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"telemetry-collector/{__version__}"}


class HttpCheck:
    """One request on a connection of its own, so that its time has everything that a newcomer would wait for."""

    kind = "http"

    def __init__(
        self,
        config: HttpCheckConfig,
        calls: Calls,
        contexts: "Contexts",
        *,
        unix_secs: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(config.url)
        # Credentials and queries may be secret, and a query may make a series of each look.
        self.target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._config = config
        self._resolver = _Resolver(calls)
        self._unix_secs = unix_secs
        self._contexts = contexts if parts.scheme == "https" or config.redirects_max else None
        self._expression = _expression(config.expected_body)

    async def look(self, finding: Finding) -> None:
        """See Check."""
        config = self._config
        tls = self._contexts.of(config.ca_path, verify=config.verify_certificate) if self._contexts else True
        connector = _Connector(resolver=self._resolver, use_dns_cache=False, force_close=True, limit=1, ssl=tls)
        redirects = aiohttp.TraceConfig()
        redirects.on_request_redirect.append(self._redirected)
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            requote_redirect_url=False,
            trace_configs=[redirects],
        )
        async with session:
            try:
                body = await self._ask(session, finding)
            except aiohttp.ClientConnectorCertificateError as error:
                raise CheckFailed(Reason.TLS, f"its certificate is not good: {_words(error)}") from error
            except (aiohttp.ClientSSLError, ssl.SSLError) as error:
                raise CheckFailed(Reason.TLS, _words(error)) from error
            except aiohttp.ClientConnectorDNSError as error:
                raise CheckFailed(Reason.NAME, _words(error)) from error
            except (aiohttp.ClientConnectorError, ConnectionError) as error:
                raise CheckFailed(Reason.CONNECT, _words(error)) from error
            except aiohttp.TooManyRedirects as error:
                raise CheckFailed(Reason.PROTOCOL, f"redirects more than {config.redirects_max} times") from error
            except (aiohttp.RedirectClientError, ValueError) as error:  # ValueError: a port that cannot be
                raise CheckFailed(Reason.PROTOCOL, "redirects to what is no http:// or https:// address") from error
            except aiohttp.ClientError as error:
                raise CheckFailed(Reason.PROTOCOL, _words(error)) from error
            finally:
                days = self._certificate(connector.certificate, finding)
        if self._expression is not None and not self._expression.found_in(body):
            raise CheckFailed(Reason.BODY, f"the body has no match of {config.expected_body}")
        if config.certificate_days_min is not None and days is not None and days < config.certificate_days_min:
            raise CheckFailed(Reason.CERTIFICATE, f"its certificate is good for {days:.1f} days only")

    async def _ask(self, session: aiohttp.ClientSession, finding: Finding) -> bytes:
        config = self._config
        headers = dict(_HEADERS)
        headers.update((name, value.get_secret_value()) for name, value in config.headers.items())
        async with session.request(
            config.method,
            config.url,
            headers=headers,
            allow_redirects=config.redirects_max > 0,
            max_redirects=config.redirects_max + 1,
            timeout=aiohttp.ClientTimeout(total=None),  # the watch keeps the time
        ) as response:
            finding.measure("service.check.status_code", response.status, "1")
            if not _as_expected(response.status, config.expected_status):
                raise CheckFailed(Reason.STATUS, f"answered {response.status}")
            body = bytearray()
            while self._expression is not None and len(body) < BODY_BYTES_MAX:
                piece = await response.content.read(BODY_BYTES_MAX - len(body))
                if not piece:
                    break
                body += piece
            return bytes(body)

    async def _redirected(
        self, _session: object, _context: object, redirect: aiohttp.TraceRequestRedirectParams
    ) -> None:
        # aiohttp takes away Authorization, and any other header may be a secret as well.
        headers, url = redirect.response.headers, redirect.url
        location = headers.get("Location") or headers.get("URI") or ""  # as aiohttp reads it
        with contextlib.suppress(ValueError):
            if url.join(type(url)(location, encoded=True)).origin() == url.origin():
                return
        for name in self._config.headers:
            redirect.headers.popall(name, None)
        for name, value in _HEADERS.items():
            redirect.headers.setdefault(name, value)

    def _certificate(self, encoded: bytes | None, finding: Finding) -> float | None:
        if encoded is None:
            return None
        try:
            ends = x509.load_der_x509_certificate(encoded).not_valid_after_utc.timestamp()
        except ValueError:  # of a server whose certificate is not verified, this may be anything
            return None
        left = ends - self._unix_secs()
        finding.measure("service.certificate.expiry", round(left), "s")
        return left / _DAY_SECS


class Contexts:
    """What TLS needs to know, read once for all checks with the same authorities: the system's are many."""

    def __init__(self) -> None:
        self._made: dict[tuple[Path | None, bool], ssl.SSLContext] = {}

    def of(self, ca_path: Path | None, *, verify: bool) -> ssl.SSLContext:
        """For checks with these authorities. CheckFailed when they cannot be read."""
        if (ca_path, verify) not in self._made:
            try:
                context = ssl.create_default_context(cafile=str(ca_path) if ca_path else None)
            except OSError as error:  # of which ssl.SSLError is one
                raise CheckFailed(Reason.FAULT, f"cannot use the authorities {ca_path}: {error}") from error
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._made[ca_path, verify] = context
        return self._made[ca_path, verify]


class _Connector(aiohttp.TCPConnector):
    """Keeps the certificate of the first server it connects to: that of the URL, not of where it redirects."""

    certificate: bytes | None = None

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """See BaseConnector."""
        connection = await super().connect(*args, **kwargs)
        tls = connection.transport.get_extra_info("ssl_object") if connection.transport else None
        if tls is not None and self.certificate is None:
            self.certificate = tls.getpeercert(binary_form=True)
        return connection


class _Resolver(AbstractResolver):
    """The system's resolver, within the bounds of all checks together."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await addresses(self._calls, host, port, family)
        except CheckFailed as error:
            # aiohttp makes its own error of an OSError, and keeps the cause.
            raise OSError(None, error.detail) from error
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
        ]

    async def close(self) -> None:
        """Nothing of its own is open."""


def _as_expected(status: int, expected: tuple[int, ...]) -> bool:
    return status in expected if expected else 200 <= status <= 299


def _expression(pattern: str | None) -> Any:
    if pattern is None:
        return None
    from telemetry_collector.agent.monitors.expression import Expression

    return Expression(pattern)


def _words(error: BaseException) -> str:
    # Of an answer that cannot be read aiohttp tells the whole address, too, in which there may be secrets.
    words = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return (words or type(error).__name__)[:200]
