"""Images with boxes, as ``DomainVOCMetric`` gets them."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import METRICS
from mmengine.structures import InstanceData

import soma  # noqa: F401, registers

CLASSES = ['bus', 'car', 'person', 'rider']
META = dict(classes=CLASSES)


def sample(domain, name, predicted, ground_truth, ignored=((), ())):
    """An image's boxes: ``predicted`` is labels, boxes and scores, the others labels and boxes."""
    metainfo = dict(img_path=f'folder/{name}.jpg', **({'domain': domain} if domain else {}))
    made = DetDataSample(metainfo=metainfo)
    for key, (labels, boxes, *scores) in dict(
        pred_instances=predicted, gt_instances=ground_truth, ignored_instances=ignored
    ).items():
        instances = InstanceData(
            labels=torch.tensor(labels, dtype=torch.long),
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        )
        if scores:
            instances.scores = torch.tensor(scores[0], dtype=torch.float32)
        setattr(made, key, instances)
    return made.to_dict()


def random_boxes(rng, count):
    """Small, so that the pixel that is added to their width and height matters."""
    corner = rng.integers(0, 40, (count, 2))
    return np.hstack([corner, corner + rng.integers(3, 12, (count, 2))])


def image(rng, domain, name, classes=4, objects=6, detections=16, ignored=2):
    labels, boxes = rng.integers(0, classes, objects), random_boxes(rng, objects)
    difficult = rng.integers(0, classes, ignored), random_boxes(rng, ignored)
    near = np.concatenate([boxes, difficult[1], random_boxes(rng, 4)])
    near_labels = np.concatenate([labels, difficult[0], rng.integers(0, classes, 4)])
    chosen = rng.integers(0, len(near), detections)  # some boxes are found twice
    predicted = (
        near_labels[chosen],
        near[chosen] + rng.integers(-1, 3, (detections, 4)),
        rng.integers(1, 10, detections) / 10,  # some score alike
    )
    return sample(domain, name, predicted, (labels, boxes), difficult)


def build(**options):
    metric = METRICS.build(dict(type='DomainVOCMetric', **options))
    metric.dataset_meta = META
    return metric


def evaluate(images, batch_size=1, **options):
    metric = build(**options)
    for start in range(0, len(images), batch_size):
        metric.process({}, images[start : start + batch_size])
    return metric.evaluate(len(images)), metric.report
