"""Data sets of torchvision whose pictures lie together in a few files, written in their layouts."""

import bz2
import pickle
import struct

import numpy as np
import pytest
from scipy.io import savemat
from sources import lines, put
from vision_pictures import DARKEST, FLAGGED, STEP, WHOLE, WITH_VALID, in_part, labels, rows


def idx(path, array):
    """Write one array as MNIST has them, the numbers in the order of the network."""
    code = {np.uint8: 0x08, np.int32: 0x0C}[array.dtype.type]
    header = struct.pack(f">{array.ndim + 1}i", code << 8 | array.ndim, *array.shape)
    put(path, header + array.astype(array.dtype.newbyteorder(">")).tobytes())


def mnist(folder, train="train", test="t10k"):
    def write(root, names):
        found = rows(len(names), {train: "train", test: "test"})
        for part in (train, test):
            here = in_part(found, part)
            raw = root / folder / "raw"
            idx(raw / f"{part}-images-idx3-ubyte", np.stack([row.pixels(28) for row in here]))
            idx(raw / f"{part}-labels-idx1-ubyte", np.array(labels(here), np.uint8))
        return found

    return write


def qmnist(root, names):
    found = rows(len(names), FLAGGED)
    for part in FLAGGED:
        here = in_part(found, part)
        raw = root / "QMNIST" / "raw"
        idx(raw / f"qmnist-{part}-images-idx3-ubyte", np.stack([row.pixels(28) for row in here]))
        columns = [(row.label, 4, row.number, 0, row.number, 0, 0, 0) for row in here]  # writer, form ...
        idx(raw / f"qmnist-{part}-labels-idx2-int", np.array(columns, np.int32))
    return found


def cifar(folder, meta, key, parts, label_key):
    def write(root, names):
        found = rows(len(names), parts)
        for part in parts:
            here = in_part(found, part)
            data = np.stack([row.colours(32).transpose(2, 0, 1).ravel() for row in here])
            batch = {"data": data, label_key: labels(here), "coarse_labels": [0] * len(here)}
            put(root / folder / part, pickle.dumps(batch))
        put(root / folder / meta, pickle.dumps({key: list(names), "coarse_label_names": ["all"]}))
        return found

    return write


def svhn(root, names):
    found = rows(len(names), FLAGGED)
    root.mkdir(exist_ok=True)
    for part in FLAGGED:
        here = in_part(found, part)
        pixels = np.stack([row.colours(32) for row in here], axis=-1)
        digits = np.array([[row.label or 10] for row in here], np.uint8)
        savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": digits})
    return found


def stl10(root, names):
    found = rows(len(names), {**FLAGGED, "unlabeled": "neither"})
    base = root / "stl10_binary"
    for part in ("train", "test", "unlabeled"):
        here = in_part(found, part)
        put(base / f"{part}_X.bin", b"".join(row.colours(96).transpose(2, 1, 0).tobytes() for row in here))
        put(base / f"{part}_y.bin", bytes(labels(here, 1)))
    (base / "unlabeled_y.bin").unlink()
    lines(base / "class_names.txt", *names)
    return found


def usps(root, names):
    found = rows(len(names), {"usps.bz2": "train", "usps.t.bz2": "test"})
    for part in ("usps.bz2", "usps.t.bz2"):
        text = ""
        for row in in_part(found, part):
            levels = (row.pixels(16).ravel() + 0.5) / 255 * 2 - 1
            text += f"{row.label + 1} " + " ".join(f"{i}:{x:.6f}" for i, x in enumerate(levels, 1)) + "\n"
        put(root / part, bz2.compress(text.encode()))
    return found


def semeion(root, names):
    found = rows(len(names), WHOLE, each=3)
    texts = []
    for row in found:
        ink = np.arange(256) < round((DARKEST + STEP * row.label) / 255 * 256)
        np.random.default_rng(row.number).shuffle(ink)
        marks = [f"{float(mark):.4f}" for mark in ink] + [str(int(row.label == n)) for n in range(10)]
        texts.append(" ".join(marks))
    lines(root / "semeion.data", *texts)
    return found


def fer2013(root, names):
    found = rows(len(names), {"Training": "train", "PublicTest": "test", "PrivateTest": "test"})
    texts = [f"{row.label},{' '.join(map(str, row.pixels(48).ravel()))},{row.part}" for row in found]
    lines(root / "fer2013" / "fer2013.csv", "emotion,pixels,Usage", *texts)
    return found


def pcam(root, names):
    h5py = pytest.importorskip("h5py")  # torchvision needs it for this one only
    found = rows(len(names), WITH_VALID, each=3)
    (root / "pcam").mkdir(parents=True)
    for part in WITH_VALID:
        here, start = in_part(found, part), root / "pcam" / f"camelyonpatch_level_2_split_{part}"
        with h5py.File(f"{start}_x.h5", "w") as file:
            file["x"] = np.stack([row.colours(96) for row in here])
        with h5py.File(f"{start}_y.h5", "w") as file:
            file["y"] = np.array(labels(here), np.uint8).reshape(-1, 1, 1, 1)
    return found
