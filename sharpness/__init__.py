"""What is measured at a minimum: functions of a loss and flat weights."""
