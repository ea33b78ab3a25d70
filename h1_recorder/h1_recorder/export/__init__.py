"""Datasets, videos and figures made from episodes."""
