"""How calls travel: channels, retries, and what becomes of gRPC's errors."""
