"""The schema of a run and its checks."""

from unrolled.config.check import ConfigError, check, flatten, one_line
from unrolled.config.schema import TrainConfig, register

__all__ = ["ConfigError", "TrainConfig", "check", "flatten", "one_line", "register"]
