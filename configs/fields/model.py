"""What learns."""

from configs import kinds
from configs.fields.field import MAX_DEPTH
from configs.fields.field import MAX_WIDTH
from configs.fields.field import Field

_TWO_LAYER = {"model": ("two_layer",)}
_TWO_LAYER_CONV = {"model": ("two_layer_conv",)}
_ATTENTION = {"model": kinds.ATTENTION_MODELS}
_GCN = {"model": kinds.GRAPH_MODELS}

FIELDS: dict[str, Field] = {
  "model": Field(
    "mlp",
    "architecture; 'two_layer' is W2 act(W1 x + b1), 'two_layer_conv' a sum"
    " over filters and patches with fixed signs, without bias, 'transformer' an"
    " encoder that tags, 'lstm' a bidirectional one that classifies, 'gcn' a"
    " graph convolutional network, 'actor_critic' plays games; PATH.py:NAME is"
    " a Flax module of your own, whose field `num_outputs` is set, and which is"
    " called with a batch of inputs and, if it takes it, `train`",
    choices=(
      "mlp",
      "two_layer",
      "two_layer_conv",
      *kinds.IMAGE_MODELS,
      *kinds.TEXT_MODELS,
      *kinds.GRAPH_MODELS,
      *kinds.GAME_MODELS,
    ),
    takes_own=True,
  ),
  "model_args": Field(
    "",
    "fields of a module of your own, as keywords: \"width=64, act='relu'\"; one"
    " that is a number counts as a size, as widths do",
    read_if={"model": kinds.OwnModels()},
  ),
  "num_neurons": Field(
    (300, 100),
    "width of each hidden layer: any number of them in an MLP, where () is a"
    " linear model; one in 'two_layer'",
    minimum=1,
    maximum=MAX_WIDTH,
    read_if={"model": ("mlp", "two_layer")},
  ),
  "bias_layers": Field(
    "all",
    "layers of an MLP that have a bias",
    choices=("all", "first"),
    read_if={"model": ("mlp",)},
  ),
  "activation": Field(
    "relu",
    "of the hidden layer",
    choices=("relu", "linear", "softplus"),
    read_if=_TWO_LAYER,
  ),
  "use_bias": Field(
    True,
    "whether the first layer has a bias; the second has none",
    read_if=_TWO_LAYER,
  ),
  "initialization": Field(
    "default",
    "'default': Flax's; 'one_dimensional': W1 is +-2.5, b1 2.5 N(0,1), W2"
    " 4 N(0,1); 'lazy': W1 and b1 have variance 1/neurons, W2 has 1",
    choices=("default", "one_dimensional", "lazy"),
    read_if=_TWO_LAYER,
  ),
  "first_layer_scale": Field(
    1.0,
    "factor on the initial W1 and b1",
    above=0.0,
    read_if=_TWO_LAYER,
  ),
  "first_layer_norm": Field(
    0.0,
    "joint norm to which W1 and b1 are scaled after every step; 0: they are"
    " free",
    minimum=0.0,
    read_if=_TWO_LAYER,
  ),
  "normalization": Field(
    "none",
    "of the hidden layer: 'sim_bn' divides each neuron by its root mean square"
    " over the whole training set and scales it by gamma; 'sim_ln' divides the"
    " hidden layer by its norm",
    choices=("none", "sim_bn", "sim_ln"),
    read_if=_TWO_LAYER,
  ),
  "trained_layers": Field(
    "all",
    "'first': W2 keeps its initial values and is no parameter",
    choices=("all", "first"),
    read_if=_TWO_LAYER,
  ),
  "num_filters": Field(
    64,
    "filters of the first stage of a ResNet or VGG; the later stages have 2, 4,"
    " 8 (and again 8) times as many; in 'two_layer_conv', of each class; in"
    " 'actor_critic', of the first layer, and the next have 2, 2, 16 times as"
    " many",
    minimum=1,
    maximum=MAX_WIDTH,
    read_if={"model": (*kinds.CONVOLUTIONAL_MODELS, "two_layer_conv")},
  ),
  "averaged_over": Field(
    "filters",
    "what the sum over filters and patches is divided by the number of:"
    " 'filters', as in the paper, or 'patches', as in the code it builds on",
    choices=("filters", "patches"),
    read_if=_TWO_LAYER_CONV,
  ),
  "filter_initialization": Field(
    "uniform",
    "of the filters: 'uniform' is U(-1, 1) / sqrt(d), PyTorch's default;"
    " 'normal' is init_scale N(0, 1)",
    choices=("uniform", "normal"),
    read_if=_TWO_LAYER_CONV,
  ),
  "init_scale": Field(
    0.01,
    "standard deviation of a filter's initial weights",
    above=0.0,
    read_if={**_TWO_LAYER_CONV, "filter_initialization": ("normal",)},
  ),
  "blocks_per_stage": Field(
    0,
    "residual blocks in each stage, to change the depth; 0: the standard ones"
    " (2, 2, 2, 2 of ResNet-18; 3, 4, 6, 3 of ResNet-50)",
    minimum=0,
    maximum=MAX_DEPTH,
    read_if={"model": kinds.RESNETS},
  ),
  "hidden_size": Field(
    128,
    "width of a token, of an LSTM's state in each direction, or of a node",
    minimum=1,
    maximum=MAX_WIDTH,
    read_if={"model": ("vit", "transformer", "lstm", *kinds.GRAPH_MODELS)},
  ),
  "head_size": Field(
    32,
    "width of an attention head; there are hidden_size / head_size, but at"
    " least one",
    minimum=1,
    maximum=MAX_WIDTH,
    read_if=_ATTENTION,
  ),
  "num_layers": Field(
    6, "transformer blocks", minimum=1, maximum=MAX_DEPTH, read_if=_ATTENTION
  ),
  "message_passing_steps": Field(
    5,
    "graph convolutions, one after the other",
    minimum=1,
    maximum=MAX_DEPTH,
    read_if=_GCN,
  ),
  "num_mlp_layers": Field(
    2,
    "layers of the MLP in front of each graph convolution",
    minimum=1,
    maximum=MAX_DEPTH,
    read_if=_GCN,
  ),
  "patch_size": Field(
    4,
    "side of the square that makes a token, in pixels",
    minimum=1,
    read_if={"model": ("vit",)},
  ),
  "dropout": Field(
    0.0,
    "rate of dropout in training",
    minimum=0.0,
    below=1.0,
    read_if={"model": kinds.TEXT_MODELS + kinds.GRAPH_MODELS},
  ),
  "sync_batch_norm": Field(
    False,
    "take BatchNorm statistics over all devices instead of per device",
    read_if={"model": kinds.RESNETS},
  ),
  "dtype": Field(
    "float32",
    "arithmetic of the model; 'bfloat16' keeps float32 parameters, 'float64'"
    " computes and stores everything in float64",
    choices=("float32", "bfloat16", "float64"),
  ),
  "init_from": Field(
    "",
    "run folder whose newest checkpoint gives the initial weights (and"
    " BatchNorm statistics); '' initializes from the seed",
  ),
}
