"""One part of a survey as bytes: a Parquet file that is exactly what its rows make."""

import hashlib
import io

import numpy as np

from .._results import KINDS, RESULTS
from ._plan import SurveyPlan

COUNTS = ("sinks", "saddles", "sources", "others")  # others: at or beside a bifurcation
KIND_NAMES = np.array(list(KINDS._name_to_item))
RESULT_NAMES = np.array(list(RESULTS._name_to_item))


class Damaged(ValueError):
    """Bytes that are not the part that they should be."""


def encode(plan_digest: str, part: int, columns: dict, rare: bytes = b"") -> bytes:
    """The file of a part: one row per network, in their order.

    `rare` is what stands in another file; the part knows its digest.
    """
    import pyarrow

    schema = _schema("points" in columns)
    table = pyarrow.table({name: columns[name] for name in schema.names}, schema=schema)
    return _written(table, _marks(plan_digest, part, rare))


def decode(data: bytes, plan: SurveyPlan, plan_digest: str, part: int, rare: bytes = b""):
    """The table in a file, after a proof that not one of its bytes is another.

    Pages carry checksums; the rest of a file follows from its rows, so that writing them
    again shows any other damage.

    **Raises:** `Damaged` with what is wrong.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(
            pyarrow.BufferReader(data), page_checksum_verification=True
        )
        rows = file.metadata.num_rows
        first, end = plan.span(part)
        if rows != end - first:
            raise Damaged(f"it has {rows} rows in place of {end - first}")
        marks = _marks(plan_digest, part, rare)
        held = file.metadata.metadata or {}
        if {name: held.get(name.encode()) for name in marks} != {
            name: value.encode() for name, value in marks.items()
        }:
            raise Damaged("it is of another survey, another part, or other rare networks")
        if not file.schema_arrow.equals(_schema(plan.keep == "all")):
            raise Damaged("its columns are others")
        table = file.read(use_threads=False)
        if _written(table, marks) != data:
            raise Damaged("its bytes are not those that its rows make")
    except Damaged:
        raise
    # Random bytes bring forth any error of a reader.
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise Damaged(" ".join(str(error).split())[:200]) from None
    return table


def _marks(plan_digest: str, part: int, rare: bytes) -> dict:
    marks = {"survey": plan_digest, "part": str(part)}
    return marks | ({"rare": hashlib.sha256(rare).hexdigest()} if rare else {})


def _schema(in_full: bool):
    import pyarrow

    fields = [pyarrow.field(name, pyarrow.uint8(), nullable=False) for name in COUNTS]
    fields += [
        # Null where the index of an equilibrium is not known.
        pyarrow.field("index_sum", pyarrow.int8()),
        pyarrow.field("complete", pyarrow.bool_(), nullable=False),
        pyarrow.field("result", pyarrow.string(), nullable=False),
    ]
    if in_full:
        for name, kind in (("kinds", pyarrow.string()), ("points", pyarrow.float64())):
            # The name that the format prescribes, so that it comes back equal.
            element = pyarrow.field("element", kind, nullable=False)
            fields.append(pyarrow.field(name, pyarrow.list_(element), nullable=False))
    return pyarrow.schema(fields)


def _written(table, marks) -> bytes:
    import pyarrow.parquet

    data = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(
        data,
        table.schema,
        compression="zstd",
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,  # Parquet's own types say it all, in fewer bytes
    ) as writer:
        writer.write_table(table.combine_chunks(), row_group_size=table.num_rows)
        writer.add_key_value_metadata(marks)
    return data.getvalue()
