"""Every parser that reads what comes from outside."""

from __future__ import annotations

from collections.abc import Sequence

from tests.campaigns.fuzz_judge import Parser
from tests.campaigns.fuzz_parsers import other_parsers
from tests.campaigns.fuzz_venues import venue_parsers
from tests.campaigns.fuzz_webhook import webhook_parsers

PARSERS: Sequence[Parser] = (*venue_parsers(), *other_parsers(), *webhook_parsers())


def parser_named(name: str) -> Parser:
    """Raises KeyError."""
    return {parser.name: parser for parser in PARSERS}[name]
