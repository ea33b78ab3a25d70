"""Journals what arrives, and turns a journal into an episode on request."""
