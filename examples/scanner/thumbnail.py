"""Make a thumbnail of a photo, with Pillow.

    python thumbnail.py PHOTO RESULT

It may run twice for one photo: the second run replaces the result of the first.
"""

from __future__ import annotations

import sys
import warnings

from PIL import Image, ImageOps

LONGEST_SIDE = 320


def main() -> None:
    """Read the photo, turn it the right way up, and write the thumbnail."""
    source, result = sys.argv[1:]
    warnings.simplefilter("error", Image.DecompressionBombWarning)  # a small file can claim to be a huge picture
    with Image.open(source) as photo:
        made = ImageOps.exif_transpose(photo)
        made.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        made.convert("RGB").save(result, "JPEG")


if __name__ == "__main__":
    main()
