"""The verbs of the command: one file per verb or family of verbs."""

from __future__ import annotations

from sit2.cli.verbs import (
    cache,
    check,
    compare,
    confusion,
    demo,
    export,
    predict,
    report,
    serve,
    suggest,
    synthesize,
    train,
)
from sit2.cli.verbs.verb import Verb

VERBS: dict[str, Verb] = {
    "demo": demo.VERB,
    "check": check.VERB,
    "train": train.VERB,
    "compare": compare.VERB,
    "confusion": confusion.VERB,
    "synthesize": synthesize.VERB,
    "predict": predict.PREDICT,
    "evaluate": predict.EVALUATE,
    "suggest": suggest.VERB,
    "report": report.VERB,
    "export": export.VERB,
    "serve": serve.VERB,
    "cache": cache.VERB,
}
