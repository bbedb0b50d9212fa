#!/usr/bin/env bash
# The paper's CIFAR-10 widths, 3 seeds, SGD and 4 rho: one job a run. Submit it
# from the root of the repository, with .venv set up there and the data on a disk
# that the nodes share, and read the runs when all are over:
#   mkdir -p logs
#   TFDS_DATA_DIR=/shared/tfds sbatch scripts/slurm_array.sh
#   python report.py runs/slurm/* --out=report
# The array counts 7 widths x 3 seeds x 5 rho from 0; 16 run at a time. A job is
# told two minutes before its time is over, so that it saves; submit the array
# again to resume what is not finished.
#SBATCH --job-name=sam-widths
#SBATCH --array=0-104%16
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=logs/%A_%a.out
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

PYTHON=${PYTHON:-.venv/bin/python}
CONFIG=${CONFIG:-configs/resnet_cifar.py}
FIELD=${FIELD:-num_filters}
RUNS=${RUNS:-runs/slurm}
read -ra widths <<<"${WIDTHS:-4 8 16 32 64 128 256}"
read -ra seeds <<<"${SEEDS:-0 1 2}"
read -ra rhos <<<"${RHOS:-0 0.05 0.1 0.2 0.5}" # 0 is SGD.

# The job's number counts through all combinations, rho fastest.
task=${SLURM_ARRAY_TASK_ID:?set by sbatch; to try one run, set it by hand}
rho=${rhos[task % ${#rhos[@]}]}
seed=${seeds[task / ${#rhos[@]} % ${#seeds[@]}]}
width=${widths[task / ${#rhos[@]} / ${#seeds[@]}]}

flags=(--config."$FIELD"="$width" --config.seed="$seed")
if [ "$rho" = 0 ]; then
  flags+=(--config.optimizer=sgd)
else
  flags+=(--config.rho="$rho")
fi
# exec, so that the signal reaches the program.
exec "$PYTHON" main.py --config="$CONFIG" "${flags[@]}" \
  --workdir="$RUNS/${width//[()]/}-rho$rho-seed$seed" "$@"
