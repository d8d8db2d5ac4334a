"""What tests of files on disk share."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image


def read_labels(path):
    with Image.open(path) as image:
        return np.array(image)


def png(image):
    """The bytes of a PNG file of an array or a picture."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, 'png')
    return buffer.getvalue()


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(root).rglob('*'))
        if path.is_file()
    }
