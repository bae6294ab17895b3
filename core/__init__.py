"""Breakwater's trading core: pure decisions in `core.domain`, the async shell in `core.engine`, adapters beside it."""
