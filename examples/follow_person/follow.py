"""Follows one person through a folder of frames with an exported network: ONNX Runtime, NumPy and Pillow, no torch.

    python follow.py network.onnx frames/ boxes.csv --person 40,10,72,74 > followed.csv

`boxes.csv` holds what any person detector found, a line a box: frame (a file in `frames/`), left, top, right, bottom in
pixels. `--person` is the box of the one to follow in the first frame. Frames are taken in the order of their names. Out
comes a line a frame: the box of the person and its similarity (cosine), or no box where nobody is similar enough.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

THRESHOLD = 0.5  # of the cosine; choose it on your own images, where `nas evaluate` tells the rates of a threshold
KEPT = 0.9  # share of what was known of the person before, when a new view is added


class Network:
    """An exported file: crops in, embeddings of length 1 out. What a crop goes through is read from the file."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        told = json.loads(self.session.get_modelmeta().custom_metadata_map["preprocessing"])
        self.name, (_, _, self.height, self.width) = told["name"], told["shape"]
        self.mean, self.std = np.float32(told["mean"]), np.float32(told["std"])

    def __call__(self, crops):
        resized = [np.asarray(crop.resize((self.width, self.height), Image.Resampling.BILINEAR)) for crop in crops]
        images = (np.stack(resized).astype(np.float32) / 255 - self.mean) / self.std
        (found,) = self.session.run(None, {self.name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def choose(network, image, boxes, known, threshold=THRESHOLD):
    """The place of the box that is most like the person or None, its cosine, and what is known of the person now."""
    if not boxes:
        return None, 0.0, known
    views = network([image.crop(box) for box in boxes])
    place = int((views @ known).argmax())
    alike = float(views[place] @ known)
    if alike < threshold:
        return None, alike, known
    known = KEPT * known + (1 - KEPT) * views[place]
    return place, alike, known / np.linalg.norm(known)


def follow(network, frames, boxes, person, threshold=THRESHOLD):
    """Yields (name, box or None, similarity) a frame.

    frames: pairs of name and RGB image, in order. boxes: those of each frame, by name. person: box in the first frame.
    """
    known = None
    for name, image in frames:
        if known is None:
            known = network([image.crop(person)])[0]
        place, alike, known = choose(network, image, boxes[name], known, threshold)
        yield name, None if place is None else boxes[name][place], alike


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("boxes", type=Path)
    parser.add_argument("--person", required=True, type=lambda text: tuple(int(side) for side in text.split(",")))
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    given = parser.parse_args()
    boxes = defaultdict(list)
    with given.boxes.open(newline="") as file:
        for row in csv.DictReader(file):
            boxes[row["frame"]].append(tuple(int(row[side]) for side in ("left", "top", "right", "bottom")))
    paths = sorted(path for path in given.frames.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    frames = ((path.name, ImageOps.exif_transpose(Image.open(path)).convert("RGB")) for path in paths)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["frame", "left", "top", "right", "bottom", "similarity"])
    for name, box, alike in follow(Network(given.network), frames, boxes, given.person, given.threshold):
        out.writerow([name, *(box or [""] * 4), f"{alike:.3f}"])


if __name__ == "__main__":
    main()
