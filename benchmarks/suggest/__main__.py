"""``python -m benchmarks.suggest``: how much is learned from labels that a policy chose, on frozen features.

Of each set a part is the test; 5 images of each class have labels; then in each round a policy chooses 5 a class
more, up to 50, and a linear classifier is solved for. A row of ``results/curves.csv`` is one classifier. What is
there already is not done again. Rivals of scikit-activeml take part where it is installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score
from threadpoolctl import threadpool_limits

from benchmarks.datasets import BY_NAME, TEN
from benchmarks.suggest import page
from benchmarks.suggest.pool import Pool, Round, pool_of
from benchmarks.suggest.rivals import RIVALS, Chooser
from sit2.features.frozen import fit_linear
from sit2.records import IntArray
from sit2.storage.files import atomic
from sit2.suggest.policies import POLICIES
from sit2.suggest.policies.policy import Candidates, Policy

HERE = Path(__file__).parent
FIRST, STEP, LAST = 5, 5, 50  # labels a class
KEY = ["dataset", "seed", "policy"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest", description=__doc__)
    parser.add_argument("--sets", default=",".join(one.name for one in TEN), help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policies", default=",".join([*POLICIES, *RIVALS]), help="default: %(default)s")
    parser.add_argument("--most", type=int, default=page.MOST, help="images of a set (default: %(default)s)")
    parser.add_argument("--features", type=Path, help="folder that keeps frozen features")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "curves.csv")
    parser.add_argument("--page", action="store_true", help="only write README.md anew, from the results")
    options = parser.parse_args()
    if options.page:
        page.write(options.results)
        return
    if options.features is None:
        parser.error("--features is missing: name a folder that keeps frozen features")
    choosers = {name: own(policy) for name, policy in POLICIES.items()} | RIVALS
    done = pd.read_csv(options.results) if options.results.exists() else pd.DataFrame(columns=KEY)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for name in options.sets.split(","):
            pool = pool_of(BY_NAME[name], options.features, options.most)
            for seed in range(options.seeds):
                for policy in options.policies.split(","):
                    key = (name, seed, policy)
                    if key in set(done[KEY].itertuples(index=False, name=None)):
                        continue
                    rows = [
                        dict(zip(KEY, key, strict=True)) | row for row in curve(pool, choosers[policy], seed)
                    ]
                    done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
                    options.results.parent.mkdir(parents=True, exist_ok=True)
                    with atomic(options.results) as path:
                        done.to_csv(path, index=False, float_format="%.5f", lineterminator="\n")
                    print(*key, *(f"{row['balanced_accuracy']:.3f}" for row in rows), flush=True)
    print((100 * page.gains(page.curves_of(done))).to_string(float_format="%.2f"))


def own(policy: Policy) -> Chooser:
    """Return one of sit2's policies as a chooser."""

    def choose(now: Round, count: int) -> IntArray:
        features = now.pool.features
        candidates = Candidates(now.chances[now.rest], lambda rows: features[now.rest[rows]])
        return now.rest[policy(candidates, count, now.luck)]

    return choose


def curve(pool: Pool, choose: Chooser, seed: int) -> Iterator[dict[str, float]]:
    """Yield what is learned from more and more labels that are chosen one after the other."""
    luck, test, rest = np.random.default_rng([seed, 1]), *pool.parts(seed)
    deal = np.random.default_rng([seed, 2]).permutation(rest)
    known = np.concatenate([deal[pool.labels[deal] == k][:FIRST] for k in range(pool.classes)])
    every, chances = torch.from_numpy(pool.features), np.empty((0, pool.classes))
    for budget in range(FIRST, LAST + 1, STEP):
        began = time.process_time()
        if budget > FIRST:
            now = Round(pool, known, np.setdiff1d(rest, known), chances, luck)
            count = min(STEP * pool.classes, len(now.rest))
            if not count:
                return
            chosen = choose(now, count)
            known = np.concatenate([known, chosen])
        groups = [pool.groups[n] for n in known] if pool.groups else []
        linear, _ = fit_linear(every[known], pool.labels[known], pool.classes, groups=groups)
        chances = linear(every).exp().numpy()
        guesses, truth = chances[test].argmax(axis=1), pool.labels[test]
        yield {
            "labels_per_class": budget,
            "labels": len(known),
            "accuracy": float((guesses == truth).mean()),
            "balanced_accuracy": float(balanced_accuracy_score(truth, guesses)),
            "rarest": int(np.bincount(pool.labels[known], minlength=pool.classes).min()),
            "seconds": time.process_time() - began,
        }


if __name__ == "__main__":
    main()
