"""How long a side's own files are good, as its metrics tell it."""

from pathlib import Path

import pytest
import structlog.testing
from prometheus_client import CollectorRegistry

from telemetry_collector.app.trust import Validity
from telemetry_collector.clock import SystemClock
from telemetry_collector.config import AgentSecurity
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import set_up
from telemetry_collector.security.validity import ends

METRIC = "telemetry_collector_certificate_expiry_timestamp_seconds"


def test_the_metrics_follow_the_files_and_stay_when_one_cannot_be_read(tmp_path: Path) -> None:
    files = set_up(tmp_path / "certs")
    registry = CollectorRegistry()
    validity = Validity(registry, SystemClock())
    security = AgentSecurity(
        tls_cert_path=files.node_certificate, tls_key_path=files.node_key, tls_ca_path=files.ca, tls_crl_path=files.crl
    )

    def shown(key: str) -> float | None:
        return registry.get_sample_value(METRIC, {"key": key})

    validity.look(security)
    assert {key: shown(key) for key in ends(security)} == {key: end.timestamp() for key, end in ends(security).items()}
    validity.look(security.model_copy(update={"tls_crl_path": None}))
    assert shown("tls_crl_path") is None
    files.node_certificate.unlink()
    with pytest.raises(CertificateError):
        validity.look(security)
    assert (
        shown("tls_ca_path") == ends(security.model_copy(update={"tls_cert_path": files.ca}))["tls_ca_path"].timestamp()
    )


def test_a_certificate_that_the_other_side_refuses_is_logged(tmp_path: Path) -> None:
    files = set_up(tmp_path / "certs")
    security = AgentSecurity(
        tls_cert_path=files.server_certificate, tls_key_path=files.server_key, tls_ca_path=files.ca
    )
    with structlog.testing.capture_logs() as lines:
        Validity(CollectorRegistry(), SystemClock()).look(security)
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("own_certificate_unfit", "error")
    assert (line["tls_cert_path"], line["effect"]) == (str(files.server_certificate), "no collector will let it in")
