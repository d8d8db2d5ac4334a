import json

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from PIL import Image
from torch import nn
from voc_images import META


class Detector(BaseModel):
    """Finds the box that each image has in its second validation only."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.validation = 0

    def forward(self, inputs, data_samples, mode):
        if mode == 'loss':
            return dict(loss=self.weight.sum())
        self.validation += inputs == 0
        for made in data_samples:
            shift = 0 if self.validation == 2 else 100
            boxes = made.gt_instances.bboxes
            made.pred_instances = InstanceData(
                bboxes=boxes + shift, scores=torch.ones(len(boxes)), labels=made.gt_instances.labels
            )
        return data_samples


class Images(list):
    metainfo = META


def collate(batch):
    indices, samples = zip(*batch, strict=True)
    return dict(inputs=indices[0], data_samples=list(samples))


def test_the_best_checkpoint_is_kept_and_the_report_written(tmp_path):
    images = Images()
    for domain in ('DC', 'NC'):
        made = DetDataSample(metainfo=dict(img_path=f'{tmp_path}/x.jpg', domain=domain))
        boxes = dict(bboxes=torch.tensor([[0.0, 0, 9, 9]]), labels=torch.tensor([2]))
        made.gt_instances, made.ignored_instances = InstanceData(**boxes), InstanceData()
        images.append((len(images), made))
    loader = dict(
        batch_size=1,
        num_workers=0,
        dataset=images,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=collate,
    )
    options = dict(by_epoch=False, interval=1, save_best='mean_mAP')
    runner = Runner(
        model=Detector(),
        work_dir=str(tmp_path),
        train_dataloader={**loader, 'sampler': dict(type='InfiniteSampler', shuffle=False)},
        val_dataloader=loader,
        test_dataloader=loader,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=1),
        val_cfg={},
        test_cfg={},
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_evaluator=dict(type='DomainVOCMetric', mean_over=['NC']),
        test_evaluator=dict(type='DomainVOCMetric'),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **options)),
        custom_hooks=[dict(type='DomainReportHook')],
        log_processor=dict(by_epoch=False),
        log_level='WARNING',
        experiment_name=f'{tmp_path.name}',
    )
    runner.train()
    assert [f.name for f in tmp_path.glob('best*')] == ['best_mean_mAP_iter_2.pth']
    folder = tmp_path / runner.timestamp
    scores = []
    for iteration in (1, 2, 3):
        report = json.loads((folder / f'domains_iter_{iteration}.json').read_text())
        scores.append(report['mean']['mAP'])
    assert scores == [0, 100, 0]
    assert report['score'] == 'AP' and report['mean_over'] == ['NC']
    assert report['domains']['DC']['AP'] == dict(bus=None, car=None, person=0, rider=None)
    assert Image.open(folder / 'domains_iter_2.png').width > 500
    runner.message_hub.update_info('tested', dict(checkpoint=f'{tmp_path}/a.pth, b/b.pth'))
    runner.test()
    assert (folder / 'domains_test.json').exists() and (folder / 'domains_test.png').exists()
    assert (folder / 'domains_test.csv').read_text().startswith('class,DC,NC,mean\nbus,,,\n')
    (page,) = folder.glob('*.html')
    text = page.read_text()
    assert page.name == 'report.html' and '>a.pth, b/b.pth<' in text and '>Chart<' in text
    assert str(tmp_path) not in text
    assert (folder / 'domains_test_curves.png').exists()
