"""The 50 Hz episode: its rows, its file, reading and checking it."""
