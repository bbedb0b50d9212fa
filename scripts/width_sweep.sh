#!/usr/bin/env bash
# SGD and SAM at several widths. To change what is swept, set its variable:
#   SEEDS="0 1 2 3 4" RHOS="0.1" scripts/width_sweep.sh
#   CONFIG=configs/resnet_cifar.py FIELD=num_filters WIDTHS="4 16 64" \
#     scripts/width_sweep.sh
# Run it again after an interruption: finished runs are skipped, others resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
CONFIG=${CONFIG:-configs/mlp_digits.py}
FIELD=${FIELD:-num_neurons}
WIDTHS=${WIDTHS:-(16,16) (64,64) (256,256)}
RHOS=${RHOS:-0.05 0.1 0.2}
SEEDS=${SEEDS:-0 1 2}
RUNS=${RUNS:-runs/width_sweep}
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

for width in $WIDTHS; do
  for seed in $SEEDS; do
    flags=(--config."$FIELD"="$width" --config.seed="$seed")
    name=${width//[()]/}
    train "$name-sgd-seed$seed" "${flags[@]}" --config.optimizer=sgd
    for rho in $RHOS; do
      train "$name-rho$rho-seed$seed" "${flags[@]}" --config.rho="$rho"
    done
  done
done

"$PYTHON" report.py "$RUNS"/*seed* --out="$RUNS/report"
