# syntax=docker/dockerfile:1
#
# The collector's image: built from the sources, without a compiler in it, not run as root.
#
# Its steps are the scripts under deploy/. A test runs the same scripts in a fresh directory, because the machines that
# test this project cannot build images; the image itself has only been checked for its structure.

# ---- the wheel -------------------------------------------------------------------------------------------------------
FROM rust:1.95-slim-bookworm AS wheel
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements/build.lock requirements/build.lock
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/build.lock
COPY Cargo.toml Cargo.lock rustfmt.toml pyproject.toml README.md LICENSE ./
COPY rust rust
COPY proto proto
COPY python python
COPY deploy/build-wheel.sh deploy/build-wheel.sh
RUN PATH="/tools/bin:$PATH" deploy/build-wheel.sh /wheels

# ---- the environment -------------------------------------------------------------------------------------------------
FROM python:3.11-slim-bookworm AS environment
WORKDIR /source
COPY requirements/runtime.lock requirements/runtime.lock
COPY deploy/install.sh deploy/install.sh
COPY --from=wheel /wheels /wheels
RUN PIP_NO_CACHE_DIR=1 deploy/install.sh /opt/telemetry-collector /wheels/*.whl

# ---- the image -------------------------------------------------------------------------------------------------------
FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="telemetry-collector" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=environment /opt/telemetry-collector /opt/telemetry-collector
COPY deploy/directories.sh deploy/healthcheck.py /opt/telemetry-collector/deploy/
RUN /opt/telemetry-collector/deploy/directories.sh / 65532 65532
ENV PATH="/opt/telemetry-collector/bin:$PATH" \
    PYTHONUNBUFFERED=1
# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/horizon
VOLUME /var/lib/horizon
# Agents over QUIC; metrics and health over HTTP.
EXPOSE 5001/udp 9091/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/telemetry-collector/deploy/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["telemetry-collector"]
CMD ["run", "/etc/horizon/telemetry-collector.yaml"]
