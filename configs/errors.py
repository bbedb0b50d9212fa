"""Wrong input, of which the user is told in one line."""


class UserError(Exception):
  """Wrong input; the message is one line for the user."""


class ConfigError(UserError):
  """A wrong value in a config."""
