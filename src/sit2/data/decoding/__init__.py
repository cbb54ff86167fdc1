"""One image file or array -> uint8 pixels."""
