"""What SQL says of rows that have certain values. Names of ours go into its text, values are parameters."""

from collections.abc import Mapping

from tierwise.storage.records import Dimension, Filters, MetadataKey
from tierwise.storage.sqlite.metadata import metadata_path, metadata_value, pair_text
from tierwise.storage.sqlite.text import clean

Condition = tuple[str, dict[str, object]]
"""SQL, and the parameters that it names."""


def condition(filters: Filters) -> Condition:
    """That a row of `calls` has every value in `filters`."""
    dimensions = {it: value for it, value in filters.items() if isinstance(it, Dimension)}
    wanted, parameters = labels_condition(dimensions)
    terms = [f"labels IN (SELECT id FROM labels WHERE {wanted})"] if dimensions else ["1"]  # noqa: S608
    for number, (attribute, value) in enumerate(filters.items()):
        if isinstance(attribute, MetadataKey):
            terms.append(_METADATA.format(n=number) if value else _NO_METADATA.format(n=number))
            parameters[f"path_{number}"] = metadata_path(attribute)
            parameters[f"pair_{number}"] = pair_text(attribute, value)
            parameters[f"value_{number}"] = metadata_value(value)
    return " AND ".join(terms), parameters


def labels_condition(filters: Mapping[Dimension, str]) -> Condition:
    """That a row of `labels` has every value in `filters`."""
    terms = ["1", *(f"{dimension.value} = :{dimension.value}" for dimension in filters)]
    return " AND ".join(terms), {dimension.value: clean(value) for dimension, value in filters.items()}


# Looking for the text of the pair first spares most objects from being parsed, two thirds of the time.
_METADATA = "instr(metadata, :pair_{n}) AND json_extract(metadata, :path_{n}) = :value_{n}"
_NO_METADATA = "COALESCE(json_extract(metadata, :path_{n}), '') = ''"
