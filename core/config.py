"""The configuration: `load_settings` reads it once, checks it as a whole and hands out one frozen tree.

Its parts are in `core/settings/`; everybody else imports from here.
"""

from __future__ import annotations

from core.settings.display import Format, key_fingerprint, show_config, venue_lines
from core.settings.exits import AgedSettings, ExitSettings, PriceSettings, TrailingSettings
from core.settings.loading import default_env_file, derive_settings, load_settings
from core.settings.problems import Problem
from core.settings.process import ProcessSettings, TelegramSettings
from core.settings.risk import EntrySettings, ProtectionSettings, RiskSettings, SizingSettings
from core.settings.signals import SignalSettings, StrategySettings, WaveSettings
from core.settings.tree import Settings
from core.settings.values import PROJECT_ROOT
from core.settings.venues import Environment, OkxSettings, TradingSettings, VenueName, VenueSettings

__all__ = [
    "PROJECT_ROOT",
    "AgedSettings",
    "EntrySettings",
    "Environment",
    "ExitSettings",
    "Format",
    "OkxSettings",
    "PriceSettings",
    "Problem",
    "ProcessSettings",
    "ProtectionSettings",
    "RiskSettings",
    "Settings",
    "SignalSettings",
    "SizingSettings",
    "StrategySettings",
    "TelegramSettings",
    "TradingSettings",
    "TrailingSettings",
    "VenueName",
    "VenueSettings",
    "WaveSettings",
    "default_env_file",
    "derive_settings",
    "key_fingerprint",
    "load_settings",
    "show_config",
    "venue_lines",
]
