import torch

from soma.datasets import SyntheticDataset


def test_synthetic_pictures():
    data = SyntheticDataset((12, 8), 5, 3)
    assert len(data) == 3
    sample = data[1]
    labels = sample['data_samples'].gt_sem_seg.data
    assert sample['inputs'].shape == (3, 8, 12) and sample['inputs'].dtype == torch.uint8
    assert labels.shape == (1, 8, 12) and labels.min() >= 0 and labels.max() < 5
    assert torch.equal(labels[:, ::2, ::3].repeat_interleave(2, 1).repeat_interleave(3, 2), labels)
    assert len(labels.unique()) > 1
