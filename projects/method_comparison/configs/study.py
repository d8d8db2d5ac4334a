# All methods with DINOv2-S on CamVid: docs/notes/study.md (make study)
_base_ = './tuned.py'

methods = {
    **_base_.methods,
    'full-pixmix': dict(_base_.methods.full, config='full-pixmix.py'),
    'full-bilateral': dict(_base_.methods.full, config='full-bilateral.py'),
    'revt': dict(average=['full', 'full-pixmix', 'full-bilateral']),
}
_NOTES = {
    'last4': '`last4` trains the last four blocks.',
    'soma': '`soma` and `recyclelora` have their weight decay annealed, as their recipes have it. '
    '`soma` and `svf` leave the first four blocks as they are.',
    'bitfit': '`bitfit` trains biases, and moves no matrix.',
    'rein': '`rein` changes the features between the blocks, and moves no matrix.',
    'full-pixmix': '`full-pixmix` and `full-bilateral` are `full` with other augmentation, at its '
    'learning rate.',
    'revt': '`revt` averages the backbones of `full`, `full-pixmix` and `full-bilateral`, with the '
    'head of `full`.',
}
methods |= {name: dict(methods[name], note=note) for name, note in _NOTES.items()}
settings = dict(
    day=dict(
        source='day.py',
        target='day_unseen.py',
        title='CamVid by day',
        groups=dict(
            corrupted=[
                f'{name}-{severity}'
                for name in ('fog', 'frost', 'brightness', 'motion_blur', 'gaussian_noise')
                for severity in (1, 3, 5)
            ]
        ),
    ),
    toy_gta=dict(source='toy_gta.py', target='unseen.py', title='the toy GTA'),
)
seeds = [0, 1, 2]
baselines = ['frozen', 'lora', 'soma']
introduction = """\
# Who generalises on real streets

Each method trains on one domain and is tested on others that it has never seen: DINOv2-S with a
linear head, CamVid's 11 classes. `make study` made this page with all of its numbers{spread}.

- Sources: CamVid's two drives by day (192 images); the toy GTA, 300 drawn images with ten of the
  classes: the eleventh, fence, counts as 0 there.
- Unseen: CamVid's drive at dusk (every second image, 62) and that on another day (every third, 57),
  by which nothing was chosen. *source, held out* are the ends of the source's drives (41 images,
  four seconds and more after the last one in training); *corrupted* is every third of these with
  fog, frost, brightness, motion blur and Gaussian noise of severities 1, 3 and 5.
- Training: {iterations} iterations of 4 crops of 168 x 168 out of images of 336 x 252:
  `configs/camvid/*_linear_*`, made small by `projects/method_comparison/configs/methods.py`. A
  seed sets the weights of the head and of the adapter, and the order and augmentation of the
  images.
- Methods (docs/user_guides/methods.md): {methods}
- Learning rates: the head's is 3e-2, the best of 1e-2, 3e-2 and 1e-1 with a frozen backbone. What
  trains in the backbone has a multiple of it, for each method the best of three, and beyond as long
  as the best was at the end, by other 41 held-out images of the source: one run each with seed 10
  on CamVid by day (`projects/method_comparison/configs/tuning.py`). Trainings on the toy GTA have
  the same rates.
- Pretrained weights: `{pretrained}`.

## What this does not tell

- The backbone is the smallest DINOv2, the training is short and the images are small. Thin and rare
  classes (pole, traffic sign, fence, person, rider) are hardly
  learned: the methods differ by the others. Larger models and longer trainings may have another
  order.
- One drive a domain, by one car in one town. The intervals are over images and seeds, not over
  drives, towns or backbones.
- Learning rates are from one run each; ranks are those of the configs.
"""
