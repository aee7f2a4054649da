"""Tools for tests: of Antiphon itself, and of providers and stages that others write for it."""
