"""Until when the files of a `security` section are good, and what already speaks against them.

Nothing is refused for it: the clock may be what is wrong, and the other side judges by a clock of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from telemetry_collector.config import AgentSecurity, Tls
from telemetry_collector.config.files import read_certificates
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.description import unfit_for_agent, unfit_for_server
from telemetry_collector.security.revocation import RevocationLists

SOON: Final = timedelta(days=14)
"""What runs out within this time is worth a word: enough for whoever renews by hand, once a fortnight."""

EFFECTS: Final = {
    "tls_cert_path": {True: "no collector will let it in", False: "no agent will connect"},
    "tls_ca_path": {
        True: "collectors of that authority will not be trusted",
        False: "agents of that authority will not be let in",
    },
    "tls_crl_path": {True: "no collector will be trusted", False: "nobody new will be let in"},
}
"""By key, and whether the section is an agent's: what comes of a file that has run out."""


@dataclass(frozen=True, slots=True)
class Concern:
    """A file that will not do, or not for long."""

    key: str
    """Such as security.tls_cert_path."""
    path: str
    problem: str
    """Such as `expired at 2026-01-02T03:04:05+00:00`."""
    effect: str
    in_force: bool
    """False for what is only soon to come."""

    def __str__(self) -> str:
        return f"{self.key} = {self.path}: {self.problem}; {self.effect}"


def ends(security: Tls) -> Mapping[str, datetime]:
    """When what a file holds runs out, by its key such as tls_cert_path; of several, the first. What never does is left
    out. CertificateError names a file that cannot be used."""
    found = {key: _first_end(getattr(security, key)) for key in ("tls_cert_path", "tls_ca_path")}
    if security.tls_crl_path is not None:
        next_update = RevocationLists.read(security.tls_crl_path).next_update_unix_secs
        if next_update is not None:
            found["tls_crl_path"] = datetime.fromtimestamp(next_update, UTC)
    return found


def concerns(security: Tls, found: Mapping[str, datetime], now: datetime) -> Iterator[Concern]:
    """What speaks against the files of a collector's section or an agent's, of which `ends` has found these.
    CertificateError names a file that is no use."""
    of_agent = isinstance(security, AgentSecurity)
    unfit = (unfit_for_agent if of_agent else unfit_for_server)(security.tls_cert_path, now)
    for key, end in found.items():
        problem = f"expired at {end.isoformat()}" if end < now else None
        if key == "tls_cert_path":
            problem = unfit or problem
        in_force = problem is not None
        if not in_force and end < now + SOON:
            problem = f"expires at {end.isoformat()}"
        if problem is not None:
            effect = EFFECTS[key][of_agent] + ("" if in_force else " from then on")
            yield Concern(f"security.{key}", str(getattr(security, key)), problem, effect, in_force)


def _first_end(path: Path) -> datetime:
    try:
        return min(certificate.not_valid_after_utc for certificate in read_certificates(path))
    except ValueError as error:
        raise CertificateError(str(error)) from error
