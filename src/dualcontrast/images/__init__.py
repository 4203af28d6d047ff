"""Images of any source as one ImageSet."""

from dualcontrast.images.imageset import ImageSet, limited, with_split
from dualcontrast.images.open import open_images

__all__ = ["ImageSet", "limited", "open_images", "with_split"]
