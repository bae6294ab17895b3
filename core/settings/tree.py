"""The settings as one frozen tree: grouped by noun here, flat names in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.settings.alerts import AlertSettings
from core.settings.exits import AgedSettings, ExitSettings, PriceSettings, TrailingSettings
from core.settings.fields import Group, entries
from core.settings.process import ProcessSettings, TelegramSettings
from core.settings.risk import EntrySettings, ProtectionSettings, RiskSettings, SizingSettings
from core.settings.servers import StatusSettings, WebhookSettings
from core.settings.signals import SignalSettings, StrategySettings, WaveSettings
from core.settings.values import address_root
from core.settings.venues import OkxSettings, TradingSettings, VenueName, VenueSettings


class Settings(BaseSettings):
    """The whole configuration, made by `load_settings` only; nothing is read from the environment behind its back."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    binance: Annotated[VenueSettings, Group(title="Binance USD-M", prefix="BINANCE_")] = VenueSettings()
    bybit: Annotated[VenueSettings, Group(title="Bybit", prefix="BYBIT_")] = VenueSettings()
    okx: Annotated[OkxSettings, Group(title="OKX", prefix="OKX_")] = OkxSettings()
    trading: Annotated[TradingSettings, Group(title="What is traded")] = TradingSettings()
    sizing: Annotated[SizingSettings, Group(title="Size of an entry")] = SizingSettings()
    risk: Annotated[RiskSettings, Group(title="Limits")] = RiskSettings()
    entry: Annotated[EntrySettings, Group(title="Entry orders")] = EntrySettings()
    protection: Annotated[ProtectionSettings, Group(title="Stops")] = ProtectionSettings()
    trailing: Annotated[TrailingSettings, Group(title="Trailing")] = TrailingSettings()
    exits: Annotated[ExitSettings, Group(title="Exits")] = ExitSettings()
    prices: Annotated[PriceSettings, Group(title="Age of prices")] = PriceSettings()
    aged: Annotated[AgedSettings, Group(title="Aged positions")] = AgedSettings()
    signals: Annotated[SignalSettings, Group(title="Signals and their filters", note="0 switches a filter off.")] = (
        SignalSettings()
    )
    wave: Annotated[WaveSettings, Group(title="Waves")] = WaveSettings()
    strategy: Annotated[StrategySettings, Group(title="Strategy")] = StrategySettings()
    telegram: Annotated[TelegramSettings, Group(title="Telegram")] = TelegramSettings()
    alerts: Annotated[AlertSettings, Group(title="Alerts")] = AlertSettings()
    status: Annotated[StatusSettings, Group(title="Status page")] = StatusSettings()
    webhook: Annotated[WebhookSettings, Group(title="Signals posted to a webhook")] = WebhookSettings()
    process: Annotated[ProcessSettings, Group(title="Process, files and times")] = ProcessSettings()

    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, env_settings, dotenv_settings, file_secret_settings  # load_settings has read them, strictly
        return (init_settings,)

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each value came from, by name in the environment; a name that is missing has its default."""
        return self._sources

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know but what does not prevent a start; full sentences."""
        return self._warnings

    @property
    def venues(self) -> dict[VenueName, VenueSettings]:
        """The venues to trade, in the order of `EXCHANGES`, else every venue that has a key."""
        every: dict[VenueName, VenueSettings] = {"binance": self.binance, "bybit": self.bybit, "okx": self.okx}
        chosen = self.trading.exchanges or tuple(name for name, venue in every.items() if venue.configured)
        return {name: every[name] for name in chosen}

    def secret_values(self) -> tuple[str, ...]:
        """Every secret in clear, and every address that is one, for the redaction of logs and nothing else."""
        found = []
        for entry in entries(type(self)):
            value = getattr(getattr(self, entry.path[0]), entry.path[1])
            if isinstance(value, SecretStr):
                found.append(value.get_secret_value())
            elif entry.setting.private and value is not None and value != address_root(value):
                found.append(value)
        return tuple(found)
