"""Transformer encoder that tags every token of a sequence.

Shin et al. (UAI 2025), part-of-speech tagging: six layers, MLPs four times as
wide as the tokens, heads of 64 numbers, widths 128 to 640. Beside that as the
tagger among the examples of Flax, on which the paper builds: sinusoidal
positions, LayerNorm before each part, ELU, attention without biases. Other than
there, no token attends to padding.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Width of the MLP's hidden layer, in widths of a token.
MLP_RATIO = 4
MAX_PERIOD = 10_000


def sinusoids(length: int, width: int) -> np.ndarray:
  """Returns sin and cos of the position, alternating, [length, width].

  Vaswani et al. (2017): wave lengths from 2 pi to 10,000 times as long.
  """
  rates = MAX_PERIOD ** (-np.arange(0, width, 2) / width)
  angles = np.arange(length)[:, None] * rates[None]
  waves = np.stack([np.sin(angles), np.cos(angles)], -1)
  return waves.reshape(length, -1)[:, :width]


class Transformer(nn.Module):
  """Encoder; token ids [B, L] to logits [B, L, num_outputs].

  Those of padding mean nothing, and padding changes no others.

  Attributes:
    num_outputs: number of tags.
    vocabulary_size: number of token ids.
    padding: token id beyond the end of a sequence.
    hidden_size: width of a token.
    head_size: width of an attention head; there is at least one.
    num_layers: number of blocks.
    dropout: rate, after the embedding, in attention, and in the MLPs.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  vocabulary_size: int
  padding: int
  hidden_size: int
  head_size: int = 64
  num_layers: int = 6
  dropout: float = 0.0
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens_BxL: jax.Array, train: bool = True) -> jax.Array:
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    width = self.hidden_size

    def dense(size):
      xavier = nn.initializers.xavier_uniform()
      return nn.Dense(size, kernel_init=xavier, **dtypes)

    def drop(x):
      return nn.Dropout(self.dropout, deterministic=not train)(x)

    is_token_BxL = tokens_BxL != self.padding
    x = drop(nn.Embed(self.vocabulary_size, width, **dtypes)(tokens_BxL))
    x += jnp.asarray(sinusoids(x.shape[1], width), x.dtype)[None]
    for _ in range(self.num_layers):
      y = nn.LayerNorm(**dtypes)(x)
      y = nn.MultiHeadDotProductAttention(
        max(1, width // self.head_size),
        use_bias=False,
        kernel_init=nn.initializers.xavier_uniform(),
        broadcast_dropout=False,
        dropout_rate=self.dropout,
        deterministic=not train,
        **dtypes,
      )(y, mask=is_token_BxL[:, None, None])
      x += drop(y)
      y = nn.LayerNorm(**dtypes)(x)
      y = drop(nn.elu(dense(MLP_RATIO * width)(y)))
      x += drop(dense(width)(y))
    return dense(self.num_outputs)(nn.LayerNorm(**dtypes)(x))
