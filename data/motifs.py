"""Random molecules whose labels say which motifs they have.

Stands in for ogbg_molpcba where there is no network. A molecule is a random
tree of atoms with few rings, each atom with at most four bonds; a motif is a
path of two or three atoms, such as N-C-O, and its task has label 1 if it occurs
at least once. So who counts makes no error. As in the real data set labels are
missing. A model computes 1.33 times as many nodes as there are, because of the
padding. `data_seed` draws the molecules.
"""

import ml_collections
import numpy as np

from data import dataset
from data import graphs

NUM_TRAIN = 4_000
NUM_TEST = 1_000
SIZES = range(8, 17)  # Atoms; every number is as frequent as any other.
MAX_BONDS = 4
MAX_RINGS = 2
# How frequent the atoms are; a node's features are one-hot over them.
ATOMS = {"C": 0.5, "N": 0.2, "O": 0.2, "S": 0.1}
MOTIFS = ("NO", "NN", "SC", "OS", "CNC", "NCO", "OCO", "CSC")
MISSING = 0.2  # Fraction of the labels.

_NAMES = list(ATOMS)


def count_neighbours(atoms: np.ndarray, edges: np.ndarray) -> np.ndarray:
  """Returns how many neighbours of each kind each atom has, [n, kinds].

  Args:
    atoms: indices into ATOMS, [n].
    edges: the bonds, [e, 2].
  """
  counts = np.zeros((len(atoms), len(ATOMS)), int)
  for a, b in (edges.T, edges.T[::-1]):
    np.add.at(counts, (a, atoms[b]), 1)
  return counts


def count(motif: str, atoms: np.ndarray, neighbours: np.ndarray) -> int:
  """Returns how often a path of two or three atoms occurs in a molecule.

  Args:
    motif: the symbols of the atoms, in either direction.
    atoms: indices into ATOMS, [n].
    neighbours: of `count_neighbours`, [n, kinds].
  """
  kinds = [_NAMES.index(name) for name in motif]
  if len(kinds) == 2:
    first, second = kinds
    pairs = neighbours[atoms == first, second].sum()
  else:
    first, middle, second = kinds
    around = neighbours[atoms == middle]
    ends = around[:, first], around[:, second] - (first == second)
    pairs = (ends[0] * ends[1]).sum()
  return int(pairs) // (2 if first == second else 1)


def draw(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the atoms [n] and bonds [e, 2] of a random molecule."""
  atoms = rng.choice(len(ATOMS), size, p=list(ATOMS.values()))
  bonds = [0] * size
  edges: list[tuple[int, int]] = []

  def free(nodes):
    return [i for i in nodes if bonds[i] < MAX_BONDS]

  def join(a, b):
    edges.append((a, b))
    bonds[a] += 1
    bonds[b] += 1

  for i in range(1, size):
    others = free(range(i))
    join(others[rng.integers(len(others))], i)
  for _ in range(rng.integers(MAX_RINGS + 1)):
    others = free(range(size))
    a, b = (others[k] for k in sorted(rng.integers(len(others), size=2)))
    if a != b and (a, b) not in edges:
      join(a, b)
  return atoms, np.array(edges)


def load(config: ml_collections.ConfigDict) -> dataset.Dataset:
  """Returns the task."""
  rng = np.random.default_rng([dataset.data_seed(config), 0x607F])
  one_hot = np.eye(len(ATOMS), dtype=int)
  drawn = {}
  for name, size in (("train", NUM_TRAIN), ("test", NUM_TEST)):
    molecules = [draw(rng, SIZES[i % len(SIZES)]) for i in range(size)]
    labels = np.array([_labels(*molecule) for molecule in molecules])
    # As many are missing for every seed.
    missing = rng.permutation(labels.size)[: int(MISSING * labels.size)]
    labels.flat[missing] = dataset.NO_LABEL
    drawn[name] = [
      graphs.Graph(one_hot[atoms], edges, own)
      for (atoms, edges), own in zip(molecules, labels, strict=True)
    ]
  return graphs.create(
    config,
    drawn,
    max_nodes=SIZES[-1],
    max_edges=SIZES[-1] - 1 + MAX_RINGS,
    best_accuracy=1.0,
  )


def _labels(atoms: np.ndarray, edges: np.ndarray) -> list[int]:
  neighbours = count_neighbours(atoms, edges)
  return [int(count(motif, atoms, neighbours) > 0) for motif in MOTIFS]
