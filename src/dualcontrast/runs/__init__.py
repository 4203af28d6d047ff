"""The run folder: one trained model and everything made from it."""

from dualcontrast.runs.codes import SavedCodes, read_codes, write_codes
from dualcontrast.runs.config import DataDescription, RunConfig
from dualcontrast.runs.folder import RunFolder, prepared_images

__all__ = [
    "DataDescription",
    "RunConfig",
    "RunFolder",
    "SavedCodes",
    "prepared_images",
    "read_codes",
    "write_codes",
]
