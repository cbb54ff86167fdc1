"""Images in: readers find them, decode makes them pixels, splits part them."""
