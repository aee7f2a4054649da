"""Caller audio -> speech and transcript facts."""
