"""What TensorBoard finds in a run folder."""

import subprocess
import sys
import tempfile

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from run_folder import files
from run_folder import tensorboard
from tests import helpers
import train


def test_events_hold_what_the_run_logged(tmp_path):
  c = helpers.config(num_neurons=(8,), num_epochs=2, log_every_steps=5)
  folder = str(tmp_path)
  writer = tensorboard.EventsWriter(folder)
  train.train_and_evaluate(
    c,
    folder,
    writer,
    make_hooks=lambda num_steps: tensorboard.hooks(
      writer, folder, num_steps, profile=True
    ),
  )
  writer.close()

  events = event_accumulator.EventAccumulator(folder)
  events.Reload()
  tags = events.Tags()["scalars"]
  logged: dict[int, dict[str, float]] = {}
  for tag in tags:
    for event in events.Scalars(tag):
      logged.setdefault(event.step, {})[tag] = event.value
  lines = files.read_lines(folder)
  assert len(lines) > 3
  for line in lines:
    step = line.pop("step")
    del line["epoch"]
    assert {k: logged[step][k] for k in line} == pytest.approx(line, rel=1e-6)
  assert {"sharpness", "examples_per_second", "steps_per_sec"} <= set(tags)
  assert "parameters" in events.Tags()["tensors"]

  (content,) = events.PluginTagToContent("hparams").values()
  hparams = plugin_data_pb2.HParamsPluginData.FromString(content)
  values = hparams.session_start_info.hparams
  assert values["rho"].number_value == c.rho
  assert values["num_neurons"].string_value == "[8]"
  assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_a_failing_writer_does_not_lose_the_run(tmp_path, capfd):
  (tmp_path / "file").touch()
  writer = tensorboard.EventsWriter(str(tmp_path / "file" / "x"))
  for step in range(3):
    writer.write_scalars(step, {"a": 1.0})
  writer.close()
  assert capfd.readouterr().err.count("TensorBoard events end here") == 1


def _read(folder):
  """Returns what TensorBoard itself reads."""
  events = plugin_event_accumulator.EventAccumulator(str(folder))
  events.Reload()
  return events


def _points(folder, tag):
  """Returns steps and values."""
  return [
    (e.step, tensor_util.make_ndarray(e.tensor_proto).item())
    for e in _read(folder).Tensors(tag)
  ]


def test_the_same_is_read_of_it_as_of_clus_writer(tmp_path):
  tensorboard._import_hooks()  # Without TensorFlow; now with it:
  from clu.metric_writers.tf import summary_writer

  hparams = {"rho": 0.1, "model": "mlp", "nesterov": True, "num_neurons": "[8]"}
  found = []
  for name, create in (
    ("ours", tensorboard.EventsWriter),
    ("clu's", summary_writer.SummaryWriter),
  ):
    writer = create(str(tmp_path / name))
    writer.write_hparams(hparams)
    writer.write_texts(0, {"parameters": "```\nparameters\n```"})
    for step in (5, 10):
      writer.write_scalars(step, {"loss": 1 / step, "test_accuracy": 0.5})
    writer.close()
    events = _read(tmp_path / name)
    (content,) = events.PluginTagToContent("hparams").values()
    read = plugin_data_pb2.HParamsPluginData.FromString(content)
    read.session_start_info.start_time_secs = 0
    texts = {tag: events.Tensors(tag)[0] for tag in ("parameters",)}
    scalars = ("loss", "test_accuracy")
    found.append(
      (
        read,
        events.Tags()["tensors"],
        [events.SummaryMetadata(tag).plugin_data for tag in scalars],
        [_points(tmp_path / name, tag) for tag in scalars],
        {t: tensor_util.make_ndarray(e.tensor_proto) for t, e in texts.items()},
      )
    )
  assert found[0] == found[1]


def test_what_a_killed_process_wrote_too_much_is_forgotten(tmp_path):
  killed = tensorboard.EventsWriter(str(tmp_path))
  for step in (0, 5, 10, 15, 20):
    killed.write_scalars(step, {"loss": step})
  # It is not closed, and its last record is cut off.
  (path,) = tmp_path.iterdir()
  path.write_bytes(path.read_bytes()[:-7])
  resumed = tensorboard.EventsWriter(str(tmp_path))
  for step in (12, 15):
    resumed.write_scalars(step, {"loss": step + 0.5})
  resumed.close()
  # A report on a minimum is no step of the run.
  report = tensorboard.EventsWriter(str(tmp_path), adds=True)
  report.write_scalars(10, {"minimum/trace": 1.0})
  report.close()
  points = [(0, 0), (5, 5), (10, 10), (12, 12.5), (15, 15.5)]
  assert _points(tmp_path, "loss") == points
  events = event_accumulator.EventAccumulator(str(tmp_path))
  events.Reload()
  assert [(e.step, e.value) for e in events.Scalars("loss")] == points


def test_neither_writer_nor_hooks_import_tensorflow():
  program = """
import sys
from run_folder import tensorboard
writer = tensorboard.EventsWriter(sys.argv[1])
writer.write_hparams({"rho": 0.1})
for hook in tensorboard.hooks(writer, sys.argv[1], 10, profile=False):
  hook(1)
import train
assert "tensorflow" not in sys.modules
assert "sklearn" not in sys.modules
"""
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.executable, "-c", program, folder], check=True)


def test_runs_of_a_sweep_have_folders_of_their_own(tmp_path):
  writer = tensorboard.EventsWriter(str(tmp_path))
  for rho in (0.0, 0.5):
    run = writer.for_run(f"rho={rho:g}")
    run.write_hparams({"rho": rho})
    run.write_scalars(3, {"test_accuracy": rho + 0.25})
  writer.close()
  assert not list(tmp_path.glob("events*"))
  for rho in (0.0, 0.5):
    events = event_accumulator.EventAccumulator(str(tmp_path / f"rho={rho:g}"))
    events.Reload()
    (event,) = events.Scalars("test_accuracy")
    assert (event.step, event.value) == (3, rho + 0.25)
    (content,) = events.PluginTagToContent("hparams").values()
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content)
    values = hparams.session_start_info.hparams
    assert values["rho"].number_value == rho
