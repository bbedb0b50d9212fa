"""Bidirectional LSTM with attention, to classify sentences.

Shin et al. (UAI 2025), SST-2, widths 32 to 512, as the example of Flax on which
the paper builds: word embeddings of 300/256 the width, attention whose scores
depend on the keys alone, a classifier with one hidden layer.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


def embedding_size(hidden_size: int) -> int:
  """Returns the width of word embeddings: 300 for an LSTM of 256."""
  return 300 * hidden_size // 256


class LSTM(nn.Module):
  """Classifier; token ids [B, L] to logits [B, num_outputs].

  Padding changes nothing. The logit of the first class is 0, so that two
  classes have one number, whose sigmoid is the probability of the second.

  Attributes:
    num_outputs: number of classes.
    vocabulary_size: number of token ids.
    padding: token id beyond the end of a sequence.
    hidden_size: width of the state of each direction, and of the classifier.
    dropout: rate, of embeddings, states, their mean and the hidden layer.
    dtype: of the arithmetic and the output.
    param_dtype: of the parameters.
  """

  num_outputs: int
  vocabulary_size: int
  padding: int
  hidden_size: int
  dropout: float = 0.0
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens_BxL: jax.Array, train: bool = True) -> jax.Array:
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)

    def dense(size, use_bias=False):
      return nn.Dense(size, use_bias=use_bias, **dtypes)

    def drop(x):
      return nn.Dropout(self.dropout, deterministic=not train)(x)

    is_token_BxL = tokens_BxL != self.padding
    x = nn.Embed(
      self.vocabulary_size,
      embedding_size(self.hidden_size),
      embedding_init=nn.initializers.normal(0.1),
      **dtypes,
    )(tokens_BxL)
    there, back = (
      nn.RNN(nn.OptimizedLSTMCell(self.hidden_size, **dtypes)) for _ in range(2)
    )
    lengths_B = jnp.sum(is_token_BxL, -1)
    states: Any = nn.Bidirectional(there, back)(drop(x), seq_lengths=lengths_B)
    x = drop(states.astype(self.dtype))
    scores_BxL = dense(1)(nn.tanh(dense(self.hidden_size)(x)))[..., 0]
    lowest = jnp.finfo(scores_BxL.dtype).min
    weights_BxL = nn.softmax(jnp.where(is_token_BxL, scores_BxL, lowest))
    x = drop(jnp.einsum("bl,bld->bd", weights_BxL, x))
    x = drop(nn.tanh(dense(self.hidden_size, use_bias=True)(x)))
    logits = dense(self.num_outputs - 1)(x)
    return jnp.pad(logits, ((0, 0), (1, 0)))
