"""Journal, episode file, and the tools for them."""
