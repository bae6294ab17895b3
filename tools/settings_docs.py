"""Write `docs/CONFIGURATION.md` and `.env.example` from the settings; run after changing core/settings/.

Exit status: 0 done or nothing to do, 1 with `--check` when a file is not up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.settings.documents import configuration_page, env_example, write_documents
from core.settings.values import PROJECT_ROOT


def stale_documents() -> list[str]:
    """Names of the written files that differ from what the settings say."""
    wanted = {"docs/CONFIGURATION.md": configuration_page(), ".env.example": env_example()}
    paths = {name: PROJECT_ROOT / name for name in wanted}
    return [name for name, path in paths.items() if not path.exists() or path.read_text("utf-8") != wanted[name]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="settings_docs", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not up to date")
    parser.add_argument("--json", action="store_true", help="print the list of files as JSON")
    options = parser.parse_args(arguments)
    names = stale_documents() if options.check else write_documents()
    if options.json:
        print(json.dumps({"changed": names}))
    else:
        verb = "out of date" if options.check else "written"
        print("\n".join(f"{verb}: {name}" for name in names) or "up to date")
    return 1 if options.check and names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
