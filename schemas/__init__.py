"""What is said: facts, frames, control messages, documents. Imports msgspec, pydantic and the standard library only."""
