import torch
from noise_boxes import SyntheticBoxDataset
from noise_images import SyntheticDataset


def test_synthetic_images():
    data = SyntheticDataset((12, 8), 5, 3)
    assert len(data) == 3
    sample = data[1]
    labels = sample['data_samples'].gt_sem_seg.data
    assert sample['inputs'].shape == (3, 8, 12) and sample['inputs'].dtype == torch.uint8
    assert labels.shape == (1, 8, 12) and labels.min() >= 0 and labels.max() < 5
    assert torch.equal(labels[:, ::2, ::3].repeat_interleave(2, 1).repeat_interleave(3, 2), labels)
    assert len(labels.unique()) > 1


def test_synthetic_boxes():
    data = SyntheticBoxDataset((120, 80), 5, 3)
    assert len(data) == 3
    samples = [data[index]['data_samples'] for index in range(3)]
    assert data[1]['inputs'].shape == (3, 80, 120) and data[1]['inputs'].dtype == torch.uint8
    boxes = torch.stack([sample.gt_instances.bboxes for sample in samples])
    labels = torch.stack([sample.gt_instances.labels for sample in samples])
    assert boxes.shape == (3, 8, 4) and labels.shape == (3, 8)
    assert labels.min() == 0 and labels.max() == 4
    sides = (boxes[..., 2:] - boxes[..., :2]) / torch.tensor([120, 80])
    assert sides.min() >= 0.099 and sides.max() <= 0.501 and boxes.min() >= 0
    assert boxes[..., 2].max() <= 120 and boxes[..., 2].max() > 80
    assert boxes[..., 3].max() <= 80 and boxes[..., 3].max() > 50
    assert samples[0].ignored_instances.bboxes.shape == (0, 4)
    again = SyntheticBoxDataset((120, 80), 5, 3)[2]['data_samples']
    assert torch.equal(again.gt_instances.bboxes, boxes[2])
