"""The contents of docs/OPERATIONS.md are its headings, and its tools exist."""

import re

from core.config import PROJECT_ROOT
from tools import emergency_flat

PAGE = (PROJECT_ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_contents_name_every_section_in_order() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    listed = re.findall(r"^- \[(.+)\]\(#(.+)\)$", PAGE, re.MULTILINE)
    assert listed == [(heading.replace("`", ""), _anchor(heading)) for heading in headings]


def test_every_tool_it_names_is_there() -> None:
    named = set(re.findall(r"tools/(\w+)\.py", PAGE)) | set(re.findall(r"sudo breakwater (\w+)", PAGE)) - {"main"}
    assert sorted(name for name in named if name != "NAME" and not (PROJECT_ROOT / f"tools/{name}.py").exists()) == []


def test_what_it_says_of_every_tools_options_is_so() -> None:
    """The table of questions names the tools, the lines above it those that are different."""
    head, _, rest = PAGE.partition("| question | command |")
    said = " ".join(head.rpartition("Every tool has")[2].split())
    tools = set(re.findall(r"python (?:-m tools\.|tools/)(\w+)", rest.partition("\n\n")[0]))
    texts = {name: (PROJECT_ROOT / "tools" / f"{name}.py").read_text("utf-8") for name in tools}
    shared = {name for name, text in texts.items() if "data_folder" in text}
    assert {name for name in tools if '"--json"' not in texts[name]} == {"export", "tell", "bot_chat"}
    assert tools - shared - {name for name in tools if '"--env-file", type' in texts[name]} == {
        "verify_audit",
        "bot_chat",
    }
    take_folders = re.search(r"for another file\)\. (.*) also take `--data-dir PATH`", said)
    assert take_folders is not None
    assert set(re.findall(r"`(\w+)\.py`", take_folders[1])) == shared


def test_the_sentences_of_a_flat_account_are_those_of_the_tool() -> None:
    lines = re.findall(r"^(\w+ +)(flat.*no order is left \(this program\))$", PAGE, re.MULTILINE)
    assert len(lines) >= 3
    for venue, sentence in lines:
        seconds, cancelled = re.search(r"after ([\d.]+) s", sentence), re.search(r"(\d+) orders cancelled", sentence)
        row = {
            "flat": True,
            "verified_s": None if seconds is None else float(seconds[1]),
            "cancelled": 0 if cancelled is None else int(cancelled[1]),
            "by": "this program",
        }
        assert emergency_flat._sentence(row) == sentence, venue
