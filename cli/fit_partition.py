"""`palaestra fit-partition`: train a small judge of pairs from labelled pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("fit-partition")
    def fit_partition(
        pairs: Annotated[
            Path, typer.Argument(help='JSON lines: {"a": text, "b": text, "label": "same" | "different"}.', exists=True)
        ],
        out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the model (JSON).")] = Path(
            "pair-classifier.json"
        ),
        strength: Annotated[float, typer.Option(min=1e-6, help="Inverse regularisation.")] = 1.0,
        folds: Annotated[int, typer.Option(min=2, help="Cross-validation folds for the threshold.")] = 5,
        seed: Annotated[int, typer.Option(help="Shuffles the folds.")] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ) -> None:
        """Train a small judge of pairs ("do these two say the same?") that needs no language model.

        The model and its threshold are one JSON file. Partition uses it through
        `palaestra.judges.partition.classifier.PairClassifier.load`.

        Example: `palaestra fit-partition pairs.jsonl --out strategy.json`
        """
        from ..judges.partition.classifier import PairClassifier, read_pairs

        labelled = read_pairs(pairs.read_text(encoding="utf-8").splitlines())
        model = PairClassifier.fit(labelled, strength=strength, folds=folds, seed=seed)
        model.save(out)
        if as_json:
            typer.echo(json.dumps({"model": str(out), "threshold": model.threshold, **model.report}))
            return
        typer.echo(
            f"{model.report['pairs']} pairs, {model.report['share_same']:.0%} same; held-out balanced accuracy "
            f"{model.report['held_out_balanced_accuracy']:.2f} at threshold {model.threshold:.3f}\nwritten to {out}"
        )
