"""Speed, against peers or limits in the same run."""
