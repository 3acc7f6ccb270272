"""Small labelled data sets in every layout that a source reads; the pictures of a class share a colour."""

import io
import json

import numpy as np
from PIL import Image

COLOURS = {"red fox": (200, 40, 30), "Übersee-Käfer": (30, 160, 70), "blue_jay": (40, 60, 210)}
PARTS = {"train": 6, "test": 4}  # images per class


def picture(name, number=0, side=12):
    """Draw one image of a class; every number is another image."""
    dice = np.random.default_rng([sum(name.encode()), number])
    noise = dice.integers(-20, 20, (side, side, 3))
    return Image.fromarray((np.array(COLOURS.get(name, (90, 90, 90))) + noise).clip(0, 255).astype(np.uint8))


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def folder(root, parts=PARTS, names=tuple(COLOURS)):
    """Write root/<part>/<class>/*.png; a part named '' is the root itself."""
    for shift, (part, count) in enumerate(parts.items()):
        for name in names:
            for number in range(count):
                put(root / part / name / f"image {number}.png", encoded(picture(name, number + 100 * shift)))
    return f"folder:path={root}"


def table(root, parts=PARTS, names=tuple(COLOURS)):
    """Write a CSV file and its images, named in Unicode and with a comma."""
    lines = ["path,label,split"]
    for shift, (part, count) in enumerate(parts.items()):
        for name in names:
            for number in range(count):
                path = f"images/{part} of {name}, {number}.png"
                put(root / path, encoded(picture(name, number + 100 * shift)))
                lines.append(f'"{path}",{name},{part}')
    return f"csv:path={put(root / 'list.csv', chr(10).join(lines).encode())}"


def shards(root, parts=PARTS, names=tuple(COLOURS), per_shard=7):
    """Write the layout of CLIP_benchmark with the library that it is written with."""
    from webdataset import TarWriter

    lines(root / "classnames.txt", *names)
    lines(root / "zeroshot_classification_templates.txt", "a photo of a {c}.", "art of {c}.")
    for shift, (part, count) in enumerate(parts.items()):
        rows = [(label, number) for number in range(count) for label in range(len(names))]
        starts = range(0, len(rows), per_shard)
        lines(root / part / "nshards.txt", str(len(starts)))
        for shard, start in enumerate(starts):
            with TarWriter(str(root / part / f"{shard}.tar")) as writer:
                for key, (label, number) in enumerate(rows[start : start + per_shard], start=start):
                    image = picture(names[label], number + 100 * shift)
                    writer.write({"__key__": f"s{key:07d}", "png": image, "cls": label})
    return f"webdataset:path={root}"


def lines(path, *texts):
    return put(path, "".join(f"{text}\n" for text in texts).encode())


def parquet(root, parts=PARTS, names=tuple(COLOURS)):
    """Write parquet files as the hub has them, with the library that writes them there."""
    from datasets import ClassLabel, Dataset, Features, Image, config, disable_progress_bars

    disable_progress_bars()
    config.HF_DATASETS_CACHE = root.parent / "prepared"  # what it prepares from them is no one's to keep
    features = Features({"image": Image(), "label": ClassLabel(names=list(names))})
    root.mkdir(parents=True, exist_ok=True)
    for shift, (part, count) in enumerate(parts.items()):
        rows = [(label, number) for number in range(count) for label in range(len(names))]
        images = [encoded(picture(names[label], number + 100 * shift)) for label, number in rows]
        columns = {
            "image": [{"bytes": image, "path": None} for image in images],
            "label": [label for label, _ in rows],
        }
        Dataset.from_dict(columns, features).to_parquet(root / f"{part}-00000-of-00001.parquet")
    return f"huggingface:path={root}"


def eurosat(root, count=6):
    """Write the folders in which torchvision looks for EuroSAT."""
    names = (
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River"
    )
    folder(root / "eurosat" / "2750", {"": count}, (*names.split(), "SeaLake"))
    return f"torchvision:name=EuroSAT,root={root}"


CAPTIONS = ("a fox in the snow", "a beetle, green as grass", "the bluest jay")


def told(root, ending="csv", swaps=False):
    """Write a table of captions, two for each image, and the images; Unicode, spaces and commas in names."""
    mark = {"csv": ",", "tsv": "\t"}[ending]
    header = ["path", "caption", *(["swap"] if swaps else []), "kind"]
    lines = [mark.join(header)]
    for name, caption in zip(COLOURS, CAPTIONS, strict=True):
        for number in range(PARTS["test"]):
            path = f"pictures/{name} {number}.png"
            put(root / path, encoded(picture(name, number)))
            for turn in ("seen", "drawn"):
                said = [f'"{caption}, {turn} {number}"', *([f'"no {caption}"'] if swaps else [])]
                lines.append(mark.join([path, *said, f"{turn}_by_us"]))
    path = put(root / f"list.{ending}", chr(10).join(lines).encode())
    return f"{'swaps' if swaps else 'captions'}:path={path}"


def swapped(root):
    return told(root, swaps=True)


def instances(root, parts=PARTS, names=tuple(COLOURS), ids=(7, 90, 3)):
    """Write Roboflow's export of boxes as COCO, with ids that are no places; two boxes on each image."""
    for shift, (part, count) in enumerate(parts.items()):
        images, boxes = [], []
        for name, category in zip(names, ids, strict=True):
            for number in range(count):
                known = 1000 + 7 * len(images)
                images.append({"id": known, "file_name": f"{name} {number}.png", "height": 12, "width": 12})
                put(root / part / f"{name} {number}.png", encoded(picture(name, number + 100 * shift)))
                boxes += [
                    {"id": len(boxes), "image_id": known, "category_id": category, "bbox": [1, 1, 2, 2]}
                ] * 2
        categories = [{"id": 0, "name": "animals", "supercategory": "none"}]
        categories += [
            {"id": i, "name": name, "supercategory": "animals"} for i, name in zip(ids, names, strict=True)
        ]
        found = {"info": {}, "images": images, "annotations": boxes, "categories": categories}
        put(root / part / "_annotations.coco.json", json.dumps(found).encode())
    return f"coco:path={root}"


def tagged(root, parts=PARTS, names=tuple(COLOURS)):
    """Write CVAT's export of tags, with subsets."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>", "<meta/>"]
    for shift, (part, count) in enumerate(parts.items()):
        for name in names:
            for number in range(count):
                path = f"{part}/{name} {number}.png"
                put(root / "images" / path, encoded(picture(name, number + 100 * shift)))
                lines.append(
                    f'<image id="{len(lines)}" name="{path}" subset="{part.title()}" width="12" height="12">'
                )
                lines.append(
                    f'<tag label="{name}" source="manual"><attribute name="a">yes</attribute></tag></image>'
                )
    text = chr(10).join([*lines, "</annotations>"])
    return f"cvat:path={put(root / 'annotations.xml', text.encode())}"


# A source that has required options shows here how it is used: the contract is tested on this
EXAMPLES = {
    "folder": folder,
    "csv": table,
    "webdataset": shards,
    "huggingface": parquet,
    "torchvision": eurosat,
    "coco": instances,
    "cvat": tagged,
    "captions": told,
    "swaps": swapped,
}
