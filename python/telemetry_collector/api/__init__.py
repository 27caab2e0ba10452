"""What answers programs that ask: who the workers are, over HTTP, and services over gRPC."""

from typing import Final

NO_SUCH_WORKER: Final = "no worker is called"
"""So begins the error for a worker that is not known. Other servers have a 404 for everything they do not know."""
