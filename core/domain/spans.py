"""How long something took or is ago, as people read it."""

from __future__ import annotations


def span(seconds: float) -> str:
    """`12s`, `4m05s`, `1h02m`, `3d04h`."""
    total = int(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3_600:
        return f"{total // 60}m{total % 60:02}s"
    if total < 86_400:
        return f"{total // 3_600}h{total % 3_600 // 60:02}m"
    return f"{total // 86_400}d{total % 86_400 // 3_600:02}h"
