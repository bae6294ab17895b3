"""Values nobody means, each of which must be a sentence."""

import pytest

from core.errors import ConfigError
from core.settings.loading import load_settings


def test_a_number_too_long_for_python_is_refused_like_any_other() -> None:
    with pytest.raises(ConfigError, match="COOLDOWN_AFTER_LOSS_SECONDS"):
        load_settings({"COOLDOWN_AFTER_LOSS_MINUTES": "9" * 5_000}, None, to_trade=False)
