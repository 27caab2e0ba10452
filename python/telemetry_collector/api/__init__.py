"""What answers programs that ask: who the workers are, over HTTP, and services over gRPC."""
