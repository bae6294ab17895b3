"""The daemon as a process, and its messages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from core.settings.fields import Frozen, Setting, upper
from core.settings.values import Count, Folder, Secret, Switch, UserIds, parse_http_root


def _at_least_a_month(days: int) -> int:
    """Reports look back for weeks, and a start for seven days."""
    if 0 < days < 30:
        raise ValueError("is less than 30, and not 0 (for ever)")
    return days


class TelegramSettings(Frozen):
    """Messages to and questions from one chat."""

    token: Annotated[Secret | None, Setting("TELEGRAM_TOKEN", "token of the bot", "as BotFather gave it")] = None
    chat_id: Annotated[
        Count | None,
        Setting("TELEGRAM_CHAT_ID", "the only chat that is answered", "a whole number, negative for groups"),
    ] = None
    owners: Annotated[
        UserIds,
        Setting(
            "TELEGRAM_OWNERS",
            "ids of users who may do everything, also resume; with nobody listed in any role the user of a private "
            "chat is its owner, and in a group nobody is answered",
            "comma list of user ids",
        ),
    ] = ()
    operators: Annotated[
        UserIds,
        Setting(
            "TELEGRAM_OPERATORS",
            "ids of users who may ask everything and make things safer: pause, reduce, close, cancel, panic",
            "comma list of user ids",
        ),
    ] = ()
    viewers: Annotated[
        UserIds,
        Setting("TELEGRAM_VIEWERS", "ids of users who may only look", "comma list of user ids"),
    ] = ()
    api_url: Annotated[
        Annotated[str, BeforeValidator(parse_http_root)],
        Setting(
            "TELEGRAM_API_URL", "root of a Bot API server; `/bot` is appended", "https://…; http:// on loopback only"
        ),
    ] = "https://api.telegram.org"


class ProcessSettings(Frozen):
    """The daemon as a process."""

    data_dir: Annotated[
        Folder,
        Setting(
            "DATA_DIR",
            "journal, audit, lock and control socket; relative to the project",
            "a folder, created with mode 0700",
        ),
    ] = Path("data")
    log_dir: Annotated[Folder, Setting("LOG_DIR", "log files; relative to the project", "a folder")] = Path("logs")
    log_level: Annotated[
        Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], upper],
        Setting("LOG_LEVEL", "least level that is logged", "DEBUG, INFO, WARNING or ERROR"),
    ] = "INFO"
    log_file_mb: Annotated[
        Count,
        Field(ge=1, le=1_000),
        Setting("LOG_FILE_MB", "a log file of this size is put aside and a new one begun, megabytes", "1 to 1000"),
    ] = 20
    log_files: Annotated[
        Count,
        Field(ge=1, le=1_000),
        Setting("LOG_FILES", "log files put aside that are kept; the oldest goes first", "1 to 1000"),
    ] = 10
    log_retention_days: Annotated[
        Count,
        Field(ge=0, le=3_650),
        Setting("LOG_RETENTION_DAYS", "log files put aside longer ago are deleted; 0 = by number alone", "0 to 3650"),
    ] = 30
    status_line_interval_seconds: Annotated[
        Count,
        Field(ge=1, le=86_400),
        Setting("STATUS_LINE_INTERVAL_SECONDS", "time between two status lines in the log, seconds", "1 to 86400"),
    ] = 60
    watchdog_stream_seconds: Annotated[
        Count,
        Field(ge=10, le=3600),
        Setting(
            "WATCHDOG_STREAM_SECONDS",
            "with every private stream down for so long, seconds, the daemon is unhealthy and the service manager's "
            "watchdog starts it anew",
            "10 to 3600",
        ),
    ] = 60
    instruments_refresh_minutes: Annotated[
        Count,
        Field(ge=1, le=180),
        Setting(
            "INSTRUMENTS_REFRESH_MINUTES",
            "time between two loads of the venues' trading rules, minutes; a refusal by other rules loads them at once",
            "1 to 180",
        ),
    ] = 60
    journal_wait_ms: Annotated[
        Count,
        Field(ge=1, le=5000),
        Setting(
            "JOURNAL_WAIT_MS",
            "longest time a stop waits for the journal, milliseconds; it is then sent and journaled later",
            "1 to 5000",
        ),
    ] = 50
    journal_retention_days: Annotated[
        Count,
        Field(ge=0, le=3650),
        AfterValidator(_at_least_a_month),
        Setting(
            "JOURNAL_RETENTION_DAYS",
            "how long ended orders, trades, closed positions, signals and waves stay in the journal, days; the audit "
            "log keeps everything",
            "0 (for ever) or 30 to 3650",
        ),
    ] = 0
    once_wait_seconds: Annotated[
        Count,
        Field(ge=1, le=86_400),
        Setting("ONCE_WAIT_SECONDS", "how long `--once` waits for a signal, seconds", "1 to 86400"),
    ] = 120
    shutdown_timeout_seconds: Annotated[
        Count,
        Field(ge=1, le=10),
        Setting("SHUTDOWN_TIMEOUT_SECONDS", "time a stop has to settle orders in flight, seconds", "1 to 10"),
    ] = 8
    close_positions_on_shutdown: Annotated[
        Switch,
        Setting(
            "CLOSE_POSITIONS_ON_SHUTDOWN",
            "close everything when stopping, instead of leaving the stops",
            "`true` or `false`",
        ),
    ] = False
    preflight_probe_orders: Annotated[
        Switch,
        Setting(
            "PREFLIGHT_PROBE_ORDERS",
            "`--check` places a far post-only order and cancels it; always in dry run",
            "`true` or `false`",
        ),
    ] = False
