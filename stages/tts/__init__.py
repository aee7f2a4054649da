"""Sentences -> audio."""
