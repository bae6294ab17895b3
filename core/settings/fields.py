"""The name, meaning and standing of one setting, and the index of all of them by their name in the environment."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

upper = BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value)
lower = BeforeValidator(lambda value: value.strip().lower() if isinstance(value, str) else value)


class Frozen(BaseModel):
    """What every group is: closed, immutable, and silent about its input in errors (it may be a secret)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class Group(Struct, frozen=True, kw_only=True):
    """A noun of the settings tree; `prefix` comes before each of its names, `note` stands above it in the documents."""

    title: str
    prefix: str = ""
    note: str = ""
    effective: bool = True


class Setting(Struct, frozen=True):
    """One setting. `allowed` says the range in words, `effective` is False while the daemon only accepts the value.

    `identity` marks what says *which account* is traded: two different values for it in the environment and in the
    file are refused, because the one that wins might be the wrong account (CFG-03). `private` marks an address whose
    path lets in whoever knows it, as those of many chat services do: scheme and host are shown and nothing more.
    """

    env: str
    meaning: str
    allowed: str
    effective: bool = True
    identity: bool = False
    private: bool = False


class Entry(Struct, frozen=True, kw_only=True):
    """A setting in its place in the tree."""

    env: str
    path: tuple[str, str]
    group: Group
    setting: Setting
    default: object
    secret: bool

    @property
    def effective(self) -> bool:
        return self.group.effective and self.setting.effective

    @property
    def file_env(self) -> str:
        """The name of the variable that holds the path of a file with the secret."""
        return self.env + "_FILE"


T = TypeVar("T")


def _only(kind: type[T], info: FieldInfo) -> T:
    found = [item for item in info.metadata if isinstance(item, kind)]
    if len(found) != 1:
        raise TypeError(f"{info!r} needs exactly one {kind.__name__}")
    return found[0]


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in getattr(annotation, "__args__", ()))


def _walk(root: type[BaseModel]) -> Iterator[Entry]:
    for group_name, group_info in root.model_fields.items():
        group = _only(Group, group_info)
        model = group_info.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{group_name} is not a group of settings")
        for name, info in model.model_fields.items():
            setting = _only(Setting, info)
            yield Entry(
                env=group.prefix + setting.env,
                path=(group_name, name),
                group=group,
                setting=setting,
                default=info.get_default(call_default_factory=True),
                secret=_holds_secret(info.annotation),
            )


@cache
def entries(root: type[BaseModel]) -> tuple[Entry, ...]:
    """Every setting below `root`, in the order they are declared.

    Raises:
        ValueError: two settings share a name.
    """
    found = tuple(_walk(root))
    names = [entry.env for entry in found]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"declared twice: {sorted(doubled)}")
    return found
