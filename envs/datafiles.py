"""Rows out of files: JSONL, JSON, CSV, Parquet, folders of shards, gzip and zstandard, cached data sets."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FORMATS = (".jsonl", ".json", ".csv", ".parquet")


def rows_of(source: str, split: str = "train") -> Iterator[Mapping[str, Any]]:
    """The rows of a file, of all files of a folder in the order of their names, or of a cached data set.

    Raises:
        FileNotFoundError: neither a path nor a cached data set.
        ValueError: a malformed file; the row is named.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        shards = sorted(p for p in path.iterdir() if _format(p) is not None)
        if not shards:
            raise FileNotFoundError(f"{source}: the folder has no file ending in {', '.join(FORMATS)} (.gz, .zst)")
        for shard in shards:
            yield from _file(shard)
    elif path.exists():
        yield from _file(path)
    else:
        yield from _cached(source, split)


def _format(path: Path) -> str | None:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return next((format for format in FORMATS if name.endswith(format)), None)


def _file(path: Path) -> Iterator[Mapping[str, Any]]:
    format = _format(path)
    if format is None:
        raise ValueError(f"{path}: unknown format; use a file ending in {', '.join(FORMATS)} (.gz, .zst)")
    if format == ".parquet":
        yield from _parquet(path)
        return
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ValueError(f"{path}: not UTF-8 at byte {exc.start}; convert the file") from None
    if format == ".csv":
        csv.field_size_limit(50_000_000)
        yield from csv.DictReader(io.StringIO(text, newline=""))
        return
    if format == ".jsonl":
        for number, line in enumerate(text.split("\n")):  # splitlines() would cut at U+2028 inside a text
            if line.strip():
                yield _row(_json(line, f"{path}, line {number + 1}"), f"{path}, line {number + 1}")
        return
    content = _json(text, str(path))
    if isinstance(content, Mapping) and isinstance(content.get("data"), list):
        content = content["data"]
    if not isinstance(content, list):
        raise ValueError(f'{path}: expected a list of objects, or {{"data": [...]}}, found {type(content).__name__}')
    for number, row in enumerate(content):
        yield _row(row, f"{path}, row {number}")


def _bytes(path: Path) -> bytes:
    if path.name.endswith(".gz"):
        try:
            return gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as exc:
            raise ValueError(f"{path}: not a complete gzip file ({exc})") from None
    if path.name.endswith(".zst"):
        try:
            import zstandard
        except ImportError:
            raise ValueError(
                f"{path}: reading .zst needs the package zstandard; install it or decompress the file"
            ) from None
        return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    return path.read_bytes()


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ValueError(f"{where}: no JSON ({exc})") from None


def _row(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: a row must be an object, found {type(value).__name__}")
    return value


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise ValueError(f"{path}: reading Parquet needs pyarrow; pip install 'palaestra[tasks]'") from None
    try:
        table = parquet.ParquetFile(path)
        for batch in table.iter_batches(1024):
            yield from batch.to_pylist()
    except (OSError, ValueError) as exc:
        raise ValueError(f"{path}: not a complete Parquet file ({exc})") from None


def _cached(source: str, split: str) -> Iterator[Mapping[str, Any]]:
    """A Hugging Face data set that is in the local cache; the network is not asked."""
    missing = f"{source}: no such file or folder, and no such data set in the local Hugging Face cache"
    if source.count("/") > 1 or Path(source).suffix in (*FORMATS, ".gz", ".zst"):
        raise FileNotFoundError(missing)
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import datasets
    except ImportError:
        raise FileNotFoundError(f"{missing} (which needs the package datasets)") from None
    try:
        yield from datasets.load_dataset(source, split=split)
    except Exception as exc:
        raise FileNotFoundError(f"{missing} ({type(exc).__name__})") from None
