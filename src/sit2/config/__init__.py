"""Every setting, assembled and checked."""
