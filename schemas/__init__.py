"""What is said: events, frames, control messages, documents.

Imports msgspec, pydantic and the standard library only.
"""
