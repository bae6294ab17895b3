"""What is masked by its name, whatever its value, and what is not a value at all."""

import pytest

from core.redaction import MASK, Redactor


@pytest.mark.parametrize("text", ["STATUS_TOKEN=abc", "api_secret: abc", "token = -abc", 'Authorization: "Bearer abc"'])
def test_a_value_of_a_secret_name_is_masked(text: str) -> None:
    masked = Redactor().text(text)
    assert "abc" not in masked
    assert MASK in masked


@pytest.mark.parametrize("text", ["STATUS_TOKEN=-", "STATUS_TOKEN=- of the page", "STATUS_TOKEN=-\nNEXT=1"])
def test_a_secret_that_is_not_set_is_not_shown_as_one_that_is(text: str) -> None:
    assert Redactor().text(text) == text
