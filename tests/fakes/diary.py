"""One list that journal and venue both write to, so that a test can assert what came first."""

Diary = list[tuple[str, str]]
"""(who, client order id); who is "journal", "wire" or "cancel"."""
