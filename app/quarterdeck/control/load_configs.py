"""Checks a load_config before it is stored or used, with the place of what is wrong in it."""

from __future__ import annotations

from quarterdeck.control.services import Services
from quarterdeck.errors import ConfigError
from quarterdeck.schemas.jsontext import locate_key, parse_load_config


def check_load_config(services: Services, backend: str, load_config: str | dict[str, object]) -> None:
    """Refuse a config that its engine would refuse, with the place of the option where it is known."""
    config = parse_load_config(load_config)
    try:
        if backend in services.scheduler.backends:
            services.scheduler.backends[backend].check_config(config)
    except ConfigError as error:
        raise _located(error, load_config) if isinstance(load_config, str) else error from None


def _located(error: ConfigError, text: str) -> ConfigError:
    """The same error with the line and column of its option in `text`."""
    line, column = locate_key(text, error.option)
    return ConfigError(error.code, error.sentence, error.hint, line=line, column=column, option=error.option)
