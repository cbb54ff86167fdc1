"""Files: whole or absent, locked, loaded without trust."""
