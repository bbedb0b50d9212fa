"""What is learned from."""

from configs import kinds
from configs.fields.field import MAX_GAMES
from configs.fields.field import MAX_WIDTH
from configs.fields.field import Field
from configs.fields.field import Positive

_TEACHER = {"dataset": ("teacher_student",)}
_SIGNAL = {"dataset": ("signal_noise",)}
_TEXT = {"dataset": kinds.TEXT_DATASETS}
_GRAPHS = {"dataset": kinds.GRAPH_DATASETS}
_GAMES = {"dataset": kinds.GAMES}
_FILES = {"dataset": kinds.FILE_DATASETS}

FIELDS: dict[str, Field] = {
  "dataset": Field(
    "digits",
    "data set; 'digits' comes with scikit-learn, those without class labels"
    " ('teacher_student', 'regression_1d', 'matrix_factorization',"
    " 'trigonometric', 'ball'), those with two ('signal_noise', 'xor'), the"
    " texts 'hidden_markov' and 'lexicon', and the graphs 'motifs' are"
    " generated, the others are read through TFDS ('grc_perseus' is a treebank"
    " of Ancient Greek, 'sst2' the film reviews of GLUE, 'ogbg_molpcba'"
    " molecules), 'breakout' is a game that is played, and 'npz' are your own"
    " arrays, in `data_file`",
    choices=(
      *kinds.IMAGE_DATASETS,
      *kinds.REGRESSION_DATASETS,
      *kinds.BINARY_DATASETS,
      *kinds.TEXT_DATASETS,
      *kinds.GRAPH_DATASETS,
      *kinds.GAMES,
      *kinds.FILE_DATASETS,
    ),
  ),
  "data_file": Field(
    "",
    "NumPy file (.npz) of x_train, y_train, x_test, y_test and, if it has a"
    " validation split of its own, x_val, y_val: images [N, H, W, C] or"
    " [N, H, W] or vectors [N, D], of uint8 or floats, and integer classes or"
    " real targets",
    read_if=_FILES,
    is_path=True,
  ),
  "normalize": Field(
    "auto",
    "what the model is given of the inputs in `data_file`: 'none': as they"
    " are; '255': divided by 255; 'standardize': minus their mean, divided by"
    " their standard deviation, those of each channel (of each entry of a"
    " vector) over x_train; 'auto': '255' of uint8, 'none' of floats",
    choices=("auto", "none", "255", "standardize"),
    read_if=_FILES,
  ),
  "validation_fraction": Field(
    0.0,
    "fraction of the training examples held out (with clean labels) to choose"
    " hyper-parameters such as rho; 0 trains on all of them, as the paper does",
    minimum=0.0,
    below=1.0,
  ),
  "train_fraction": Field(
    1.0,
    "fraction of the training examples that are used, those that are held out"
    " included; the others are left out",
    above=0.0,
    maximum=1.0,
  ),
  "data_seed": Field(
    0,
    "seed of the split into training, validation and (digits) test examples,"
    " and of generated data; -1 follows `seed`, so every seed has its own",
    minimum=-1,
  ),
  "augment": Field(
    False,
    "random crops (zero padding), and flips where the data set has mirror"
    " symmetry; random-resized crop and flip for ImageNet",
  ),
  "mirror_symmetry": Field(
    False,
    "whether the images in `data_file` may be mirrored, so that `augment` also"
    " flips them left and right",
    read_if={**_FILES, "augment": (True,)},
  ),
  "label_noise": Field(
    0.0,
    "fraction of the training labels that are replaced by wrong ones",
    minimum=0.0,
    maximum=1.0,
  ),
  "label_noise_type": Field(
    "symmetric",
    "'symmetric': uniform over the other classes; 'pair': the next class."
    " The paper does not name its type",
    choices=("symmetric", "pair"),
    read_if={"label_noise": Positive()},
  ),
  "vocabulary_min_count": Field(
    1,
    "how often a word must occur in the training set to be in the vocabulary",
    minimum=1,
    read_if=_TEXT,
  ),
  "word_dropout": Field(
    0.0,
    "rate at which words of a training sentence are replaced by the unknown"
    " word",
    minimum=0.0,
    below=1.0,
    read_if=_TEXT,
  ),
  "max_nodes": Field(
    0,
    "nodes to which every graph is padded; a larger one is an error. 0: those"
    " of the largest graph",
    minimum=0,
    read_if=_GRAPHS,
  ),
  "max_edges": Field(
    0,
    "edges to which every graph is padded, each counted once; 0: those of the"
    " graph that has most",
    minimum=0,
    read_if=_GRAPHS,
  ),
  "bucket_batches": Field(
    0,
    "sorts the examples of so many batches in a row by size, cuts them into"
    " batches, shuffles these, and trims each to its largest example; 1 only"
    " trims the batches as they were drawn, 0 pads them to the largest example"
    " of the data set. Trimming changes what dropout draws, but nothing else",
    minimum=0,
    read_if={"dataset": kinds.PADDED_DATASETS},
  ),
  "teacher_num_neurons": Field(
    200,
    "hidden neurons of the random teacher",
    minimum=1,
    maximum=MAX_WIDTH,
    read_if=_TEACHER,
  ),
  "teacher_scale": Field(
    1.0,
    "standard deviation of the teacher's output, or of the product with the"
    " matrix to factorize, over the training inputs; the paper states the"
    " weights of neither",
    above=0.0,
    read_if={"dataset": ("teacher_student", "matrix_factorization")},
  ),
  "target_noise": Field(
    1.0,
    "standard deviation of the Gaussian noise on the teacher's targets",
    minimum=0.0,
    read_if=_TEACHER,
  ),
  "input_dim": Field(
    1000,
    "dimension d of an input, or of a patch of it",
    minimum=1,
    read_if={"dataset": kinds.SIZED_DATASETS},
  ),
  "num_train": Field(
    20,
    "training examples that are generated",
    minimum=1,
    read_if={"dataset": kinds.SIZED_DATASETS},
  ),
  "num_patches": Field(
    2,
    "patches P of an input: one of signal, all others the same noise",
    minimum=2,
    read_if=_SIGNAL,
  ),
  "signal_norm": Field(
    5.0, "norm ||mu|| of the signal", minimum=0.0, read_if=_SIGNAL
  ),
  "noise_scale": Field(
    1.0,
    "standard deviation sigma_p of each coordinate of the noise",
    minimum=0.0,
    read_if=_SIGNAL,
  ),
  "step_label_noise": Field(
    0.0,
    "label noise drawn anew at every step: the standard deviation of what is"
    " added to the targets of a squared error, or the probability that a class"
    " is flipped, with 'logistic'. The logged training metrics are of the noisy"
    " targets",
    minimum=0.0,
    read_if={
      "dataset": kinds.REGRESSION_DATASETS
      + kinds.BINARY_DATASETS
      + kinds.FILE_DATASETS
    },
  ),
  "num_agents": Field(
    8,
    "games that are played at once",
    minimum=1,
    maximum=MAX_GAMES,
    read_if=_GAMES,
  ),
  "actor_steps": Field(
    128, "actions in each of them in a rollout", minimum=1, read_if=_GAMES
  ),
  "sticky_actions": Field(
    0.25,
    "probability that a frame repeats the action before, as in Breakout-v5; 0"
    " in NoFrameskip-v4, with which the example of Flax trains",
    minimum=0.0,
    below=1.0,
    read_if=_GAMES,
  ),
  "cache": Field(
    False,
    "keep the undecoded records of a streamed data set in host memory",
    read_if={"dataset": kinds.STREAMED_DATASETS},
    cadence=True,
  ),
}
