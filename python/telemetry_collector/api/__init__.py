"""What answers programs that ask: services over gRPC."""
