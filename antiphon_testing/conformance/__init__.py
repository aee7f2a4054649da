"""Conformance suites: what a stage relies on, as checks that every provider of its kind passes."""
