#!/usr/bin/env bash
# One setting over several seeds, with SGD and with SAM. Flags are handed on:
#   SEEDS="0 1 2" scripts/seeds.sh --config.label_noise=0.5 --config.rho=0.2
# Run it again after an interruption: finished runs are skipped, others resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
CONFIG=${CONFIG:-configs/mlp_digits.py}
SEEDS=${SEEDS:-0 1 2 3 4 5 6 7 8 9}
RUNS=${RUNS:-runs/seeds}

for seed in $SEEDS; do
  for optimizer in sgd sam; do
    # A run that diverged (3) does not end the loop.
    "$PYTHON" main.py --config="$CONFIG" "$@" --config.seed="$seed" \
      --config.optimizer="$optimizer" --workdir="$RUNS/$optimizer-seed$seed" || {
      code=$?
      [ $code -eq 3 ] || exit $code
    }
  done
done

"$PYTHON" report.py "$RUNS"/*seed* --out="$RUNS/report"
