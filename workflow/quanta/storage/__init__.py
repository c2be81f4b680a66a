"""Files that can be trusted: written whole, checked when read, fetched at a pinned hash."""
