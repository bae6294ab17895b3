"""Parts built from settings, each in a place of its own; `core.assembly` puts them together."""
