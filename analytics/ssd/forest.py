"""Trees as plain arrays: what a model file keeps of a booster, checked before any library sees it.

A booster's own file is never read from outside: its reader trusts what it reads, and a child that points beyond the
tree would be followed into foreign memory. Here each tree is proved to be one (children come after their parent, each
node has one parent, columns exist, numbers are finite), and the booster is rebuilt from these arrays alone.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.errors import ModelFileError
from analytics.ssd.training import xgboost

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]
Uint8Array = npt.NDArray[np.uint8]

MOST_TREES = 5_000
MOST_NODES = 2_000_000
_LEAF = -1


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees one after another; a node's children are numbered within its tree.

    Attributes:
        columns: how many columns a row has.
        base: probability before any tree, in (0, 1).
        sizes: int32[trees], nodes of each tree.
        left, right: int32[nodes], children, -1 in a leaf.
        column: int32[nodes], what a node looks at, 0 in a leaf.
        value: float32[nodes], goes left where the column is below it; in a leaf, what it adds to the log-odds.
        unknown_left: uint8[nodes], 1 where NaN goes left.
        cover: float32[nodes], weight of the rows that came by in training: what contributions are averaged with.
    """

    columns: int
    base: float
    sizes: Int32Array
    left: Int32Array
    right: Int32Array
    column: Int32Array
    value: Float32Array
    unknown_left: Uint8Array
    cover: Float32Array

    def used(self) -> Int32Array:
        """The columns that some node looks at, ascending."""
        return np.unique(self.column[self.left != _LEAF]).astype(np.int32)

    def over(self, columns: Int32Array) -> "Forest":
        """The same trees for rows that have only the given columns; these must cover `used()`."""
        place = np.zeros(self.columns, np.int32)
        place[columns] = np.arange(columns.size, dtype=np.int32)
        column = np.where(self.left != _LEAF, place[self.column], 0).astype(np.int32)
        return Forest(
            int(columns.size),
            self.base,
            self.sizes,
            self.left,
            self.right,
            column,
            self.value,
            self.unknown_left,
            self.cover,
        )


def forest_of(booster: Any) -> Forest:
    """What a booster (xgboost.Booster, binary:logistic) is made of."""
    learner = json.loads(booster.save_raw("json"))["learner"]
    trees = learner["gradient_booster"]["model"]["trees"]
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))

    def joined(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.concatenate([np.asarray(tree[name], dtype) for tree in trees]) if trees else np.zeros(0, dtype)

    return Forest(
        int(learner["learner_model_param"]["num_feature"]),
        base,
        np.array([len(tree["left_children"]) for tree in trees], np.int32),
        joined("left_children", np.int32),
        joined("right_children", np.int32),
        joined("split_indices", np.int32),
        joined("split_conditions", np.float32),
        joined("default_left", np.uint8),
        joined("sum_hessian", np.float32),
    )


def check(forest: Forest) -> None:
    """Prove that these arrays are trees.

    Raises:
        ModelFileError: they are not; the message names the array, what was seen and what was wanted.
    """
    nodes = forest.left.size
    _want(1 <= forest.columns <= 100_000, f"{forest.columns} columns; want 1 to 100,000")
    _want(bool(0 < forest.base < 1), f"a base of {forest.base}; want a probability above 0 and below 1")
    _want(forest.sizes.size <= MOST_TREES, f"{forest.sizes.size} trees; want {MOST_TREES} at most")
    _want(nodes <= MOST_NODES, f"{nodes} nodes; want {MOST_NODES} at most")
    _want(bool((forest.sizes >= 1).all()), "a tree without nodes")
    total = int(forest.sizes.astype(np.int64).sum())
    for name in ("left", "right", "column", "value", "unknown_left", "cover"):
        seen = getattr(forest, name).size
        _want(seen == total, f"{seen} entries in {name!r}; the trees have {total} nodes")
    for name in ("value", "cover"):
        _want(bool(np.isfinite(getattr(forest, name)).all()), f"{name!r} holds a number that is not finite")
    _want(bool((forest.cover >= 0).all()), "'cover' holds a number below 0")
    _want(bool((forest.unknown_left <= 1).all()), "'unknown_left' holds something else than 0 and 1")
    _want(bool(((forest.column >= 0) & (forest.column < forest.columns)).all()), "a node looks at a column beyond")
    if total:
        _check_children(forest)


def _check_children(forest: Forest) -> None:
    starts = np.concatenate(([0], np.cumsum(forest.sizes)[:-1]))
    own = np.arange(forest.left.size) - np.repeat(starts, forest.sizes)
    size = np.repeat(forest.sizes, forest.sizes)
    leaf = forest.left == _LEAF
    _want(bool((leaf == (forest.right == _LEAF)).all()), "a node has one child; want two, or none")
    for name, child in (("left", forest.left), ("right", forest.right)):
        _want(
            bool((leaf | ((child > own) & (child < size))).all()), f"a child in {name!r} does not come after its parent"
        )
    start = np.repeat(starts, forest.sizes)
    children = np.concatenate(((start + forest.left)[~leaf], (start + forest.right)[~leaf]))
    parents = np.bincount(children, minlength=forest.left.size)
    wanted = (own > 0).astype(np.int64)
    _want(bool((parents == wanted).all()), "a node has no parent, or two")


def booster_of(forest: Forest) -> Any:
    """A booster (xgboost.Booster) that computes what the trees say; one thread."""
    library = xgboost()
    booster = library.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(_described(forest, list(library.__version__.split(".")))).encode()))
    booster.set_param({"nthread": 1})
    return booster


def _described(forest: Forest, version: list[str]) -> dict[str, Any]:
    """The booster's own JSON."""
    ends = np.cumsum(forest.sizes)
    trees = [
        _tree(forest, i, int(end - size), int(end))
        for i, (size, end) in enumerate(zip(forest.sizes, ends, strict=True))
    ]
    count = len(trees)
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
        "iteration_indptr": list(range(count + 1)),
        "tree_info": [0] * count,
        "trees": trees,
    }
    return {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"model": model, "name": "gbtree"},
            "learner_model_param": {
                "base_score": f"[{forest.base!r}]",
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": str(forest.columns),
                "num_target": "1",
            },
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [int(part) for part in version[:3]],
    }


def _tree(forest: Forest, number: int, start: int, end: int) -> dict[str, Any]:
    left, right = forest.left[start:end], forest.right[start:end]
    parents = np.full(end - start, 2**31 - 1, np.int64)
    inner = np.flatnonzero(left != _LEAF)
    parents[left[inner]] = inner
    parents[right[inner]] = inner
    value = forest.value[start:end].tolist()
    zeros = [0] * (end - start)
    return {
        "base_weights": value,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": forest.unknown_left[start:end].tolist(),
        "id": number,
        "left_children": left.tolist(),
        "loss_changes": [0.0] * (end - start),
        "parents": parents.tolist(),
        "right_children": right.tolist(),
        "split_conditions": value,
        "split_indices": forest.column[start:end].tolist(),
        "split_type": zeros,
        "sum_hessian": forest.cover[start:end].tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(forest.columns),
            "num_nodes": str(end - start),
            "size_leaf_vector": "1",
        },
    }


def _want(holds: bool, seen: str) -> None:
    if not holds:
        raise ModelFileError(f"the model's trees are damaged: {seen}; train the model again, or fetch its file again")
