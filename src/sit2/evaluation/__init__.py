"""After training: metrics and statistics."""
