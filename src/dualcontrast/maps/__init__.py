"""From codes to averaged maps, and back into RELION: alignment, averaging, comparison with the truth, export."""
