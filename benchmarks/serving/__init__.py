"""`sit2 serve` under load: latency, and memory where the load is hostile."""
