"""Configuration documents of a collector for tests: on loopback, everything in one directory."""

from pathlib import Path
from typing import Any

from telemetry_collector.security.authority import Files


def collector_document(directory: Path, files: Files, transport: str = "aioquic", **sections: Any) -> dict[str, Any]:
    """A collector on ports that the system chooses, with Parquet; `sections` take the place of those of their names."""
    document: dict[str, Any] = {
        "server": {"listen_addr": "127.0.0.1:0"},
        "security": server_tls(files),
        "journal": {"dir": str(directory / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 24},
        "parquet": {"output_dir": str(directory / "parquet")},
        "api": {"http_port": 0},
        "observability": {"metrics_addr": "127.0.0.1", "metrics_port": 0},
        **sections,
    }
    document["server"]["transport"] = transport
    return document


def server_tls(files: Files) -> dict[str, str]:
    """The collector's certificate and the authority that it trusts."""
    return {
        "tls_cert_path": str(files.server_certificate),
        "tls_key_path": str(files.server_key),
        "tls_ca_path": str(files.ca),
    }
