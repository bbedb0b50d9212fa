#!/usr/bin/env bash
# SGD and SAM on networks that are pruned at initialization. Each pair of a width
# and a sparsity keeps about 9,000 parameters, so the figure of the paper's
# Section 5 follows: sparse and large against dense and small.
#   PRUNER=random SEEDS="0 1 2 3 4" scripts/sparsity_sweep.sh
# Run it again after an interruption: finished runs are skipped, others resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
CONFIG=${CONFIG:-configs/mlp_digits.py}
FIELD=${FIELD:-num_neurons}
PAIRS=${PAIRS:-(64,64):0 (128,128):0.663 (256,256):0.9}
PRUNER=${PRUNER:-snip}
RHOS=${RHOS:-0.05 0.1 0.2}
SEEDS=${SEEDS:-0 1 2}
RUNS=${RUNS:-runs/sparsity_sweep}
FLAGS=${FLAGS:-} # Further flags for every run.

# train NAME FLAG...; a run that diverged (3) does not end the loop.
train() {
  local name=$1 code
  shift
  # shellcheck disable=SC2086
  "$PYTHON" main.py --config="$CONFIG" --workdir="$RUNS/$name" "$@" $FLAGS || {
    code=$?
    [ $code -eq 3 ] || exit $code
  }
}

for pair in $PAIRS; do
  width=${pair%:*}
  sparsity=${pair#*:}
  for seed in $SEEDS; do
    flags=(--config."$FIELD"="$width" --config.seed="$seed")
    if [ "$sparsity" != 0 ]; then
      flags+=(--config.pruner="$PRUNER" --config.sparsity="$sparsity")
    fi
    name="${width//[()]/}-$PRUNER$sparsity"
    train "$name-sgd-seed$seed" "${flags[@]}" --config.optimizer=sgd
    for rho in $RHOS; do
      train "$name-rho$rho-seed$seed" "${flags[@]}" --config.rho="$rho"
    done
  done
done

"$PYTHON" report.py "$RUNS"/*seed* --out="$RUNS/report"
