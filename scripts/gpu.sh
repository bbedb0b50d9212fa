#!/usr/bin/env bash
# What the code must show on a GPU, in under 8 minutes and without TensorFlow:
# tests of the core, and benchmarks, whose numbers go to a folder as JSON:
#   scripts/gpu.sh [FOLDER]    # benchmarks/results/gpu
# Without a GPU all runs on the CPU, with smaller sizes. PyTorch is compared if
# it is installed. Packages that a machine without a network lacks come as
# wheels, beside JAX, Flax, Optax and Orbax, pytest and pytest-xdist:
#   pip download --no-deps --dest=wheels clu==0.0.12 ml_collections==1.1.0
#   pip install --no-index --no-deps --target=site wheels/*.whl
#   PYTHONPATH=site PYTHON=python3 scripts/gpu.sh
# A part that fails, or takes longer than its limit, does not end the others; it
# is named at the end, with exit code 1.
set -uo pipefail
[ $# -eq 0 ] || FOLDER=$(realpath -m "$1")
cd "$(dirname "$0")/.." || exit

PYTHON=${PYTHON:-python}
FOLDER=${FOLDER:-benchmarks/results/gpu}
# Programs that several parts need compile once. PyTorch's side has one GPU.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sam-overparam}
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-0}

# Of one device, and with numbers that do not depend on its bits.
TESTS=(
  tests/sam
  tests/sharpness
  tests/training/test_losses.py
  tests/training/test_optimization.py
)
FAILED=()

# part NAME SECONDS COMMAND...
part() {
  local name=$1 limit=$2 begin=$SECONDS code
  shift 2
  echo "== $name (at most $limit s)"
  # With a group of its own, so that what it started ends, too.
  timeout --kill-after=5 "$limit" "$PYTHON" "$@" &
  wait $!
  code=$?
  case $code in
    0) echo "== $name: $((SECONDS - begin)) s" ;;
    124 | 137) FAILED+=("$name (longer than $limit s)") ;;
    *) FAILED+=("$name (exit code $code)") ;;
  esac
}

for signal in INT TERM; do
  # shellcheck disable=SC2064
  trap "kill \$(jobs -p) 2>/dev/null; wait; trap - $signal; kill -$signal \$\$" $signal
done

SAM_OVERPARAM_TEST_ON=accelerator part tests 85 -m pytest -q \
  --numprocesses=auto --maxprocesses=4 --dist=worksteal "${TESTS[@]}"
part accelerator 240 -m benchmarks.accelerator --repeats=3 --torch_timeout=60 \
  --out="$FOLDER/accelerator.json"
part sweep 75 -m benchmarks.sweep --parts=modes --num_runs=8 \
  --out="$FOLDER/sweep.json"
part step_time 75 -m benchmarks.step_time --filters --seconds=0.3 --repeats=2 \
  --scan_calls=5 --out="$FOLDER/step_time.json"

if [ ${#FAILED[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${FAILED[@]}"
  exit 1
fi
echo "all parts passed in $SECONDS s; numbers are in $FOLDER"
