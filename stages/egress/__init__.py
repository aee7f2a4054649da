"""Paces audio to the caller, holds it, reports what was heard."""
