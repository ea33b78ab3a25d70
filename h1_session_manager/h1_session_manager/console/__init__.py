"""The session on one screen of a terminal."""
