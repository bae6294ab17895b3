"""Questions over HTTP as the daemon asks them: straight to the host, past any proxy that the shell names.

Through a proxy a question to this host, with its token, would go to another one.
"""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse
from typing import cast


def opened(request: urllib.request.Request | str, seconds: float, *, to_this_host: bool = False) -> HTTPResponse:
    """The answer; a context manager that closes it. `to_this_host`: its certificate names the host as others know it,
    so the name is not compared.

    Raises:
        OSError: there is no answer, or (as `urllib.error.HTTPError`) one that refuses.
    """
    context = ssl._create_unverified_context() if to_this_host else None  # noqa: S323, SLF001 - said above
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    return cast("HTTPResponse", urllib.request.build_opener(*handlers).open(request, timeout=seconds))
