#!/usr/bin/env bash
# The cells of a study, one a job. Submit it from the root of the repository, with
# .venv set up there and all of it, and the data, on a disk that the nodes share:
#   mkdir -p logs
#   export STUDY=studies/width.py PRESET=paper TFDS_DATA_DIR=/shared/tfds
#   count=$(.venv/bin/python study.py --study=$STUDY --preset=$PRESET --list | wc -l)
#   sbatch --array=0-$((count - 1))%16 scripts/slurm_study.sh
# Flags of study.py, such as --workload=, follow the script's name; the count, and the
# last command, want the same ones.
# When all are over, the same study.py without --cell draws and judges:
#   .venv/bin/python study.py --study=$STUDY --preset=$PRESET
# 16 jobs run at a time. A job is told two minutes before its time is over, so that
# it saves; submit the array again to go on with what is not finished.
#SBATCH --job-name=sam-study
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=logs/%A_%a.out
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

PYTHON=${PYTHON:-.venv/bin/python}
STUDY=${STUDY:-studies/width.py}
PRESET=${PRESET:-paper}

# The job's number counts through the cells.
task=${SLURM_ARRAY_TASK_ID:?set by sbatch; to try one cell, set it by hand}
names=$("$PYTHON" study.py --study="$STUDY" --preset="$PRESET" "$@" --list)
mapfile -t cells <<<"$names"
# exec, so that the signal reaches the program.
exec "$PYTHON" study.py --study="$STUDY" --preset="$PRESET" \
  --cell="${cells[task]:?there is no such cell}" "$@"
