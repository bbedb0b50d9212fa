"""What TensorBoard finds in a run folder."""

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from run_folder import files
from run_folder import tensorboard
from tests import helpers
import train


def test_events_hold_what_the_run_logged(tmp_path):
  c = helpers.config(num_neurons=(8,), num_epochs=2, log_every_steps=5)
  folder = str(tmp_path)
  writer = tensorboard.create(folder)
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
  tags = events.Tags()["tensors"]
  logged: dict[int, dict[str, float]] = {}
  for tag in events.PluginTagToContent("scalars"):
    for event in events.Tensors(tag):
      value = float(tensor_util.make_ndarray(event.tensor_proto))
      logged.setdefault(event.step, {})[tag] = value
  lines = files.read_lines(folder)
  assert len(lines) > 3
  for line in lines:
    step = line.pop("step")
    del line["epoch"]
    assert {k: logged[step][k] for k in line} == pytest.approx(line, rel=1e-6)
  assert {"sharpness", "examples_per_second", "steps_per_sec"} <= set(tags)
  assert "parameters" in tags

  (content,) = events.PluginTagToContent("hparams").values()
  hparams = plugin_data_pb2.HParamsPluginData.FromString(content)
  values = hparams.session_start_info.hparams
  assert values["rho"].number_value == c.rho
  assert values["num_neurons"].string_value == "[8]"
  assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_a_failing_writer_does_not_lose_the_run(tmp_path, capfd):
  (tmp_path / "file").touch()
  writer = tensorboard.BackgroundWriter(str(tmp_path / "file" / "x"))
  for step in range(3):
    writer.write_scalars(step, {"a": 1.0})
  writer.close()
  assert capfd.readouterr().err.count("TensorBoard events end here") == 1


def test_closing_at_once_writes_everything(tmp_path):
  writer = tensorboard.BackgroundWriter(str(tmp_path))
  writer.write_scalars(7, {"a": 2.0})
  writer.close()  # Before the thread has opened the events file, perhaps.
  events = event_accumulator.EventAccumulator(str(tmp_path))
  events.Reload()
  (event,) = events.Tensors("a")
  assert event.step == 7
  assert float(tensor_util.make_ndarray(event.tensor_proto)) == 2.0


def test_runs_of_a_sweep_have_folders_of_their_own(tmp_path):
  writer = tensorboard.create(str(tmp_path))
  for rho in (0.0, 0.5):
    run = writer.for_run(f"rho={rho:g}")
    run.write_hparams({"rho": rho})
    run.write_scalars(3, {"test_accuracy": rho + 0.25})
  writer.close()
  assert not list(tmp_path.glob("events*"))
  for rho in (0.0, 0.5):
    events = event_accumulator.EventAccumulator(str(tmp_path / f"rho={rho:g}"))
    events.Reload()
    (event,) = events.Tensors("test_accuracy")
    value = float(tensor_util.make_ndarray(event.tensor_proto))
    assert (event.step, value) == (3, rho + 0.25)
    (content,) = events.PluginTagToContent("hparams").values()
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content)
    values = hparams.session_start_info.hparams
    assert values["rho"].number_value == rho
