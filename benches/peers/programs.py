"""The peers' programs, built from their Go modules at pinned versions into a cache outside the sources."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

TELEGRAF_VERSION = "1.37.2"
TELEGRAF_TAGS = (
    *("custom", "inputs.influxdb_v2_listener", "outputs.parquet", "outputs.influxdb_v2", "outputs.discard"),
    *("parsers.influx", "serializers.influx"),
)
MANIFEST = Path(__file__).with_name("otel-collector.yaml")
"""Names the version of the OpenTelemetry Collector and the parts that it is made of."""


def cache() -> Path:
    """Where the programs are; removing it loses nothing but the minutes that building takes."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "telemetry-collector-peers"


def telegraf() -> Path:
    """Telegraf's program."""
    return cache() / "bin" / "telegraf"


def otelcol() -> Path:
    """The OpenTelemetry Collector's program."""
    return cache() / "bin" / "otelcol"


def otelcol_version() -> str:
    """The version that the manifest names."""
    found = re.search(r"^ *version: (\S+)$", MANIFEST.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def build() -> None:
    """Builds both, which takes minutes, with Go from the PATH; its module cache is where Go has it."""
    (cache() / "bin").mkdir(parents=True, exist_ok=True)
    tags, version = ",".join(TELEGRAF_TAGS), TELEGRAF_VERSION
    _go("install", "-tags", tags, f"github.com/influxdata/telegraf/cmd/telegraf@v{version}")
    _go("install", f"go.opentelemetry.io/collector/cmd/builder@v{otelcol_version()}")
    source, manifest = cache() / "otelcol-source", cache() / "otelcol-manifest.yaml"
    manifest.write_text(MANIFEST.read_text().replace("dist:\n", f"dist:\n  output_path: {source}\n", 1))
    # The builder resolves what the parts' tests import, too, and fails where a module of those cannot be had. Its
    # sources are complete by then; what is really missing fails the build.
    with contextlib.suppress(subprocess.CalledProcessError):
        command = [str(cache() / "bin" / "builder"), "--config", str(manifest), "--skip-compilation"]
        subprocess.run(command, check=True, env=_environment())
    _go("mod", "tidy", "-e", cwd=source)
    _go("build", "-trimpath", "-ldflags=-s -w", "-o", str(otelcol()), ".", cwd=source)


def _environment() -> dict[str, str]:
    return {**os.environ, "GOBIN": str(cache() / "bin"), "GOFLAGS": "-buildvcs=false -p=1"}


def _go(*arguments: str, cwd: Path | None = None) -> None:
    subprocess.run(["nice", "go", *arguments], check=True, cwd=cwd or cache(), env=_environment())
