"""How often what is done: nothing here changes what is learned."""

from configs import kinds
from configs.fields.field import MAX_GAMES
from configs.fields.field import Field

FIELDS: dict[str, Field] = {
  "log_every_steps": Field(
    100, "steps between two lines of training metrics", minimum=1, cadence=True
  ),
  "eval_every_epochs": Field(
    1,
    "epochs between two evaluations; the end of training is always evaluated",
    minimum=1,
    cadence=True,
  ),
  "checkpoint_at_evals": Field(
    True,
    "save a checkpoint at every evaluation; the end of training always does",
    cadence=True,
  ),
  "checkpoint_every_steps": Field(
    0,
    "steps between further checkpoints; 0: no further ones",
    minimum=0,
    cadence=True,
  ),
  "snapshot_every_epochs": Field(
    0,
    "epochs between two snapshots of the weights, all of which are kept, in"
    " snapshots/; also the initial and final ones; 0: none",
    minimum=0,
    cadence=True,
  ),
  "sharpness_every_epochs": Field(
    0,
    "epochs between two measurements of the sharpness of the training loss:"
    " lambda_max, trace, m-sharpness; also at the end; 0: never",
    minimum=0,
    cadence=True,
  ),
  "sharpness_num_examples": Field(
    0,
    "random training examples over which it is measured; 0: all",
    minimum=0,
    cadence=True,
  ),
  "steps_per_eval": Field(
    -1,
    "evaluate only this many batches, for debugging (recorded as partial);"
    " -1: every example once",
    minimum=-1,
    cadence=True,
  ),
  "eval_games": Field(
    16,
    "games in an evaluation, each played once, by actions drawn as in training",
    minimum=2,
    maximum=MAX_GAMES,
    cadence=True,
    read_if={"dataset": kinds.GAMES},
  ),
  "eval_batch_size": Field(
    512, "examples evaluated at once, over all devices", minimum=1, cadence=True
  ),
  "steps_per_call": Field(
    0,
    "training steps in one call to the device; 0 chooses: 1 for streamed data"
    " and for convolutions on CPU (slow inside XLA's CPU loops), else 32",
    minimum=0,
    maximum=10_000,
    cadence=True,
  ),
}
