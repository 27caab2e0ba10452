"""Exits 0 when the collector on this host says that it is healthy: the image's HEALTHCHECK.

Usage: healthcheck.py [PORT]; the port is observability.metrics_port (9091).
"""

import http.client
import sys

TIMEOUT_SECS = 3


def main() -> int:
    """The exit status: 0 healthy, 1 not, with the reason on standard output, which the container engine keeps."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9091
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECS)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        print(response.status, response.read().decode(errors="replace").strip())
    except OSError as error:
        print(f"no answer on 127.0.0.1:{port}: {error}")
        return 1
    finally:
        connection.close()
    return 0 if response.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
