"""What a config must be for the arrays of a file, once they are read."""

import ml_collections

from configs import check as rules
from configs import errors
from configs import kinds


def check(
  config: ml_collections.ConfigDict, *, regression: bool, images: bool
) -> None:
  """Raises `ConfigError` if a config does not fit the arrays of a file.

  Args:
    config: has passed `check.check`.
    regression: whether the targets are real numbers, not classes.
    images: whether an input has rows, columns and channels.
  """
  for name, wrong, allowed in _file(config, regression, images):
    if wrong:
      raise errors.ConfigError(
        f"config.{name}={rules.shown(config[name])}: {allowed}"
      )


def _file(
  c: ml_collections.ConfigDict, regression: bool, images: bool
) -> list[rules.Rule]:
  targets = "real targets" if regression else "integer classes"
  here = f"with config.data_file={c.data_file!r}, which has {targets}"
  flat = f"with config.data_file={c.data_file!r}, which has no images"
  return [
    (
      "loss",
      regression and c.loss != "squared_error",
      f"must be 'squared_error' {here}",
    ),
    (
      "label_smoothing",
      regression and c.label_smoothing > 0,
      f"must be 0 {here}",
    ),
    (
      "step_label_noise",
      not regression and c.step_label_noise > 0,
      f"must be 0 {here}",
    ),
    (
      "lazy_alpha",
      (regression or not images) and c.lazy_alpha > 0,
      f"must be 0 {here if regression else flat}",
    ),
    ("augment", c.augment and not images, f"must be False {flat}"),
    (
      "model",
      c.model in kinds.IMAGE_MODELS and not images,
      f"must be 'mlp' or 'two_layer' {flat}",
    ),
  ]
