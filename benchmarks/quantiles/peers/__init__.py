"""One adapter per peer: how to fill it, ask it, write it as bytes and merge it, at the full speed its API allows."""
