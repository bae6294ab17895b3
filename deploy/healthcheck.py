"""Asks the daemon in this container how it stands. Exit status: 0 it is healthy, 1 it is not or does not answer."""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection

SECONDS = 4


def main() -> int:
    link = HTTPConnection("127.0.0.1", int(os.environ.get("STATUS_PORT") or 9464), timeout=SECONDS)
    try:
        link.request("GET", "/healthz")
        answer = link.getresponse()
        print(answer.read(2_000).decode("utf-8", "replace").strip())
    except OSError as error:
        print(f"no answer: {error}")
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
