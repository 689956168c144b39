"""What the run knows of the documents behind some sequences: token map, and how many duplicates dedup dropped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redpajama_pipe import manifest, storage
from redpajama_pipe.run_folder import RunFolder
from redpajama_pipe.tokens.reader import SequenceReader


def read_map(reader: SequenceReader, shard: int, columns: Sequence[str]) -> pa.Table:
    """Read columns of one shard's token map."""
    path = storage.join(reader.tokens, "token_map", f"{reader.shards[shard]}.parquet")
    with storage.open_parquet(path) as parquet:
        return parquet.read(columns=list(columns))


def rows_of(reader: SequenceReader, numbers: Iterable[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Return the token map's row of some documents.

    Args:
        numbers: documents, counted over all shards.
        columns: which of schema.TOKEN_MAP.

    Returns:
        number → column → value.
    """
    wanted: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        shard, sequence = reader.place(number)
        wanted[shard].append(sequence)
    found = {}
    for shard, sequences in sorted(wanted.items()):
        table = read_map(reader, shard, [*columns, "sequence"])
        inside = table.filter(pa.array(np.isin(table.column("sequence").to_numpy(), sequences)))
        for row in inside.to_pylist():
            found[reader.starts[shard] + row["sequence"]] = row
    return found


def dropped_duplicates(run: str, doc_ids: Iterable[bytes]) -> Counter[bytes] | None:
    """Count the documents that dedup dropped in favour of some others; None: the run has no decisions of dedup here."""
    folder = RunFolder.at(run).decisions("dedup")
    if manifest.find(folder) is None:
        return None
    wanted = pa.array(list(doc_ids), pa.binary())
    counts: Counter[bytes] = Counter()
    for name in storage.list_names(folder):
        if name.endswith(".parquet"):
            with storage.open_parquet(storage.join(folder, name)) as parquet:
                rows = parquet.read(columns=["action", "rank", "kept_doc_id"])
            counted = pc.and_(pc.equal(rows.column("action"), "drop"), pc.equal(rows.column("rank"), 0))
            kept = rows.column("kept_doc_id").filter(counted)
            counts.update(kept.filter(pc.is_in(kept, value_set=wanted)).to_pylist())
    return counts
