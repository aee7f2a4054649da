"""Fit the English judge of the end of turn on the words of people who ask assistants for things.

A whole utterance is a finished turn, and each beginning of it is an unfinished one, so any text of users gives both.
Two published collections do, each in a clone of its repository in one folder (`--data`):

- PolyAI-LDN/task-specific-datasets (CC BY 4.0): calls to restaurants, requests to services, questions to a bank.
- clinc/oos-eval (CC BY 3.0): questions to an assistant.

The weights go into stages/llm/end_of_turn_en.json with the figures on the utterances that were kept apart.
"""

import argparse
import base64
import csv
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from session.words import words
from stages.llm.end_of_turn import WEIGHTS, features

SIZE = 1 << 14  # of the table; with half of it the area under the curve is the same within 0.005
EPOCHS = 4  # from the fifth on, the utterances that were kept apart are judged no better
BATCH = 512
RATE = 0.3
BEGINNINGS = 2  # of each utterance
# A caller who pauses has mostly said more than a word: the shortest beginnings count less.
LONG = 3
SHORT_SHARE = 0.15  # for each word that such a beginning has
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def utterances(data: Path) -> Iterator[tuple[str, bool]]:
    """Yield each utterance of the collections, and whether it is kept apart for the figures."""
    for file in sorted((data / "task-specific-datasets/span_extraction").rglob("*.json")):
        if not file.name.startswith(("train", "test")):
            continue
        for one in json.loads(file.read_text()):
            yield one["userInput"]["text"], file.name.startswith("test")
    for name in ("train", "test"):
        with (data / f"task-specific-datasets/banking_data/{name}.csv").open() as table:
            rows = list(csv.reader(table))[1:]
        for row in rows:
            yield row[0], name == "test"
    for name, pairs in json.loads((data / "oos-eval/data/data_full.json").read_text()).items():
        for text, _ in pairs:
            yield text, name.endswith("test")


def examples(texts: list[str], beginnings: int) -> tuple[Ints, Floats]:
    """Return the features of each whole utterance and of some of its beginnings, and 1 for whole, 0 for beginning."""
    rows, whole = [], []
    for spoken in filter(None, map(words, texts)):
        rows.append(features(spoken, SIZE))
        whole.append(1.0)
        for end in random.sample(range(1, len(spoken)), min(beginnings, len(spoken) - 1)):
            if end >= LONG or random.random() < SHORT_SHARE * end:
                rows.append(features(spoken[:end], SIZE))
                whole.append(0.0)
    table = np.full((len(rows), max(map(len, rows))), SIZE)  # SIZE: the weight that stays 0
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table, np.array(whole)


def fit(table: Ints, whole: Floats) -> Floats:
    """Return the weights of a logistic regression, found by AdaGrad."""
    weights, squares = np.zeros(SIZE + 1), np.full(SIZE + 1, 1e-3)
    dice = np.random.default_rng(0)
    for _ in range(EPOCHS):
        for batch in np.array_split(dice.permutation(len(table)), len(table) // BATCH):
            error = 1 / (1 + np.exp(-weights[table[batch]].sum(axis=1))) - whole[batch]
            slope = np.bincount(table[batch].ravel(), np.repeat(error, table.shape[1]), SIZE + 1) / len(batch)
            slope[SIZE] = 0
            squares += slope**2
            weights -= RATE * slope / np.sqrt(squares)
    return weights


def figures(scores: Floats, whole: Floats) -> dict[str, float]:
    """Return the area under the curve, and for some probabilities the share of both kinds that is below."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(len(scores))
    finished = whole == 1
    area = (ranks[finished].sum() - finished.sum() * (finished.sum() - 1) / 2) / finished.sum() / (~finished).sum()
    told = {"utterances": float(finished.sum()), "area_under_curve": round(float(area), 3)}
    probabilities = 1 / (1 + np.exp(-scores))
    for one in THRESHOLDS:
        below = probabilities < one
        told[f"finished_below_{one:g}"] = round(float(below[finished].mean()), 3)
        told[f"unfinished_below_{one:g}"] = round(float(below[~finished].mean()), 3)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.fit_end_of_turn", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the clones")
    given = parser.parse_args()
    random.seed(0)
    every = list(utterances(given.data))
    weights = fit(*examples([text for text, apart in every if not apart], BEGINNINGS))
    scale = float(np.abs(weights).max()) / 127
    whole_numbers = np.rint(weights[:SIZE] / scale).astype(np.int8)
    table, whole = examples([text for text, apart in every if apart], 1)
    kept = np.append(whole_numbers * scale, 0.0)
    told = figures(kept[table].sum(axis=1), whole)
    fitted = {
        "fitted": datetime.now(UTC).date().isoformat(),
        "held_out": told,
        "scale": scale,
        "weights": base64.b64encode(whole_numbers.tobytes()).decode(),
    }
    WEIGHTS.write_text(json.dumps(fitted, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
