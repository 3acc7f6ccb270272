"""Data sets of torchvision that have a file for each picture, written in their layouts."""

import json

import numpy as np
import torch
from scipy.io import savemat
from sources import lines, put
from vision_pictures import FLAGGED, VAL_IS_TEST, WHOLE, WITH_VAL, Row, in_part, labels, rows


def filled(text, row, names):
    return text.format(row=row, name=names[row.label], one=row.label + 1)


def filed(pattern, parts, each=2):
    """Return the writer of a layout that is nothing but files in folders of their classes."""

    def write(root, names):
        found = rows(len(names), parts, each)
        for row in found:
            row.save(root / filled(pattern, row, names))
        return found

    return write


def clevr(root, names):
    base = root / "clevr" / "CLEVR_v1.0"
    found = rows(len(names), {**VAL_IS_TEST, "test": "neither"})
    for row in found:
        row.save(base / "images" / row.part / f"CLEVR_{row.part}_{row.number:06d}.png")
    for part in VAL_IS_TEST:
        scenes = [
            {
                "image_filename": f"CLEVR_{part}_{row.number:06d}.png",
                "objects": [{"shape": "cube"}] * (row.label + 3),
            }
            for row in in_part(found, part)
        ]
        put(base / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps({"scenes": scenes}).encode())
    return found


def listed(place, listing, line, parts):
    """Return the writer of a layout of files, `place`, and of a list for each part with a line per file."""

    def write(root, names):
        found = rows(len(names), parts)
        for row in found:
            row.save(root / filled(place, row, names))
        for part in parts:
            texts = [filled(line, row, names) for row in in_part(found, part)]
            lines(root / listing.format(part=part), *texts)
        return found

    return write


def named_in(file, write):
    """Return a writer that also lists the names of the classes in a file."""

    def both(root, names):
        lines(root / file, *names)
        return write(root, names)

    return both


AIRCRAFT = "fgvc-aircraft-2013b/data"
aircraft = named_in(
    f"{AIRCRAFT}/variants.txt",
    listed(
        f"{AIRCRAFT}/images/{{row.number:07d}}.jpg",
        f"{AIRCRAFT}/images_variant_{{part}}.txt",
        "{row.number:07d} {name}",
        {"trainval": "train", "test": "test"},
    ),
)
dtd = listed(
    "dtd/dtd/images/{name}/{name}_{row.number:04d}.jpg",
    "dtd/dtd/labels/{part}1.txt",
    "{name}/{name}_{row.number:04d}.jpg",
    WITH_VAL,
)
pets = listed(
    "oxford-iiit-pet/images/{name}_{row.number}.jpg",
    "oxford-iiit-pet/annotations/{part}.txt",
    "{name}_{row.number} {one} 1 1",
    {"trainval": "train", "test": "test"},
)


def food101(root, names):
    base = root / "food-101"
    found = rows(len(names), FLAGGED)
    for part in FLAGGED:
        table = {name: [] for name in names}
        for row in in_part(found, part):
            table[names[row.label]].append(f"{names[row.label]}/{row.number}")
            row.save(base / "images" / names[row.label] / f"{row.number}.jpg")
        put(base / "meta" / f"{part}.json", json.dumps(table).encode())
    return found


def gtsrb(root, names):
    base = root / "gtsrb"
    found = rows(len(names), FLAGGED)
    texts = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for row in in_part(found, "train"):
        row.save(base / "GTSRB" / "Training" / f"{row.label:05d}" / f"{row.number:05d}.ppm")
    for row in in_part(found, "test"):
        row.save(base / "GTSRB" / "Final_Test" / "Images" / f"{row.number:05d}.ppm")
        texts.append(f"{row.number:05d}.ppm;16;16;0;0;9;9;{row.label}")
    lines(base / "GT-final_test.csv", *texts)
    return found


def flowers(root, names):
    base = root / "flowers-102"
    parts = {"trnid": "train", "tstid": "test", "valid": "neither"}
    found = rows(len(names), parts)
    for row in found:
        row.save(base / "jpg" / f"image_{row.number + 1:05d}.jpg")
    savemat(base / "imagelabels.mat", {"labels": np.array([labels(found, 1)], np.uint8)})
    numbers = {part: np.array([[row.number + 1 for row in in_part(found, part)]]) for part in parts}
    savemat(base / "setid.mat", numbers)
    return found


def cars(root, names):
    base = root / "stanford_cars"
    found = rows(len(names), FLAGGED)
    (base / "devkit").mkdir(parents=True)
    places = {"train": base / "devkit" / "cars_train_annos.mat"}
    places["test"] = base / "cars_test_annos_withlabels.mat"
    shape = [(key, object) for key in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    for part, place in places.items():
        here = in_part(found, part)
        marks = np.array([(1, 1, 9, 9, row.label + 1, f"{row.number:05d}.jpg") for row in here], shape)
        savemat(place, {"annotations": marks[None]})
        for row in here:
            row.save(base / f"cars_{part}" / f"{row.number:05d}.jpg")
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    return found


def faces(root, names):
    base = root / "lfw-py"
    found = rows(len(names), WHOLE, each=3)
    put(base / "lfw-funneled.tgz", b"")  # it was unpacked
    for row in found:
        name = names[row.label]
        row.save(base / "lfw_funneled" / name / f"{name}_{row.number // len(names) + 1:04d}.jpg")
    counts = [f"{name}\t3" for name in names]
    lines(base / "lfw-names.txt", *counts)
    lines(base / "people.txt", "2", "1", counts[0], str(len(names) - 1), *counts[1:])  # in folds
    return found


def caltech101(root, names):
    (root / "caltech101" / "Annotations").mkdir(parents=True)
    base = root / "caltech101" / "101_ObjectCategories"
    found = rows(len(names), WHOLE, each=3)
    for row in found:
        row.save(base / names[row.label] / f"image_{row.number // len(names) + 1:04d}.jpg")
    Row("", "neither", 50, 999).save(base / "BACKGROUND_Google" / "image_0001.jpg")
    return found


def caltech256(root, names):
    base = root / "caltech256" / "256_ObjectCategories"
    found = rows(len(names), WHOLE, each=3)
    for row in found:
        number = row.number // len(names) + 1
        row.save(base / names[row.label] / f"{row.label + 1:03d}_{number:04d}.jpg")
    lines(base / names[0] / "RENAME2", "a stray file that the archive has")
    return found


def imagenet(root, names):
    """Names are `number name, another name`; two classes are called alike there."""
    numbers = [name.split(" ", 1)[0] for name in names]
    words = {name.split(" ", 1)[0]: tuple(name.split(" ", 1)[1].split(", ")) for name in names}
    found = filed("{row.part}/{name}/{row.number}.JPEG", VAL_IS_TEST)(root, numbers)
    torch.save((words, [numbers[row.label] for row in in_part(found, "val")]), root / "meta.bin")
    return found


def omniglot(root, names):
    put(root / "omniglot-py" / "images_background.zip", b"")  # it was unpacked
    return filed("omniglot-py/images_background/{name}/{row.number:04d}.png", WHOLE, 3)(root, names)


def places(root, names):
    lines(root / "categories_places365.txt", *(f"{name} {n}" for n, name in enumerate(names)))
    train = listed(
        "data_large_standard{name}/{row.number:08d}.jpg",
        "places365_train_standard.txt",
        "{name}/{row.number:08d}.jpg {row.label}",
        {"train": "train"},
    )
    test = listed(
        "val_large/Places365_val_{row.number:08d}.jpg",
        "places365_val.txt",
        "Places365_val_{row.number:08d}.jpg {row.label}",
        {"val": "test"},
    )
    return train(root, names) + test(root, names)


def sun397(root, names):
    lines(root / "SUN397" / "ClassName.txt", *names)
    return filed("SUN397{name}/sun_{row.number:05d}.jpg", WHOLE, 3)(root, names)
