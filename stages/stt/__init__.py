"""Caller audio -> speech and transcript events."""
