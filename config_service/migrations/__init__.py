"""Alembic migrations of the config service's tables."""
