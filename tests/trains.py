"""Trains configs one after the other: `python -m tests.trains FILE [--hosts]`.

The file is a list of objects: 'config', the name of a file in configs/, its
'fields', 'workdir', and perhaps 'data_dir'. ResNets have two stages.
"""

import importlib
import json
import pathlib
import sys


def main() -> None:
  import jax

  from program import jax_setup
  from training import hosts as hosts_lib

  path, *flags = sys.argv[1:]
  if not flags:
    jax_setup.set_up(float64=True)
    _train(path, hosts_lib.ALONE)
    return
  from program import cli
  from training import several

  with several.connected(cli.host(flags[0].removeprefix("--hosts="))) as hosts:
    jax_setup.set_up(float64=True)
    _train(path, hosts)
  assert jax.process_count() == 2


def _train(path, hosts) -> None:
  from models import resnet
  import train

  for name in resnet.STAGES:
    resnet.STAGES[name] = (1, 1)
  for run in json.loads(pathlib.Path(path).read_text()):
    config = importlib.import_module(f"configs.{run['config']}").get_config()
    config.update({"dtype": "float64"} | run["fields"])
    # Whoever is not the first has no folder, nor its disk.
    workdir = run["workdir"] if hosts.is_first else "/nowhere"
    train.train_and_evaluate(
      config, workdir, data_dir=run.get("data_dir"), hosts=hosts
    )


if __name__ == "__main__":
  main()
