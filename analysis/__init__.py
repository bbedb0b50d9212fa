"""What is read back of runs: tables, statistics, words and figures."""
