# All methods on toy GTA and toy SYNTHIA: docs/notes/study.md (projects/toy_streets/study.py)
_FILE = '../{}_dinov2-toy_semfpn_gta2all_256x256.py'

methods = {
    name: dict(config=_FILE.format(name))
    for name in (
        'frozen',
        'last2',
        'full',
        'bitfit',
        'lora',
        'dora',
        'pissa',
        'milora',
        'mica',
        'svf',
        'soma',
        'rein',
        'full-pixmix',
        'full-bilateral',
    )
}
methods['revt'] = dict(average=['full', 'full-pixmix', 'full-bilateral'])
_NOTES = {
    'last2': '`last2` trains the last two blocks.',
    'soma': '`soma` is the only one whose weight decay is annealed, as its recipe has it. Of the '
    'adapters it and `svf` alone leave the first two blocks as they are.',
    'bitfit': '`bitfit` trains biases, and moves no matrix.',
    'rein': '`rein` changes the features between the blocks, and moves no matrix.',
    'full-pixmix': '`full-pixmix` and `full-bilateral` are `full` with other augmentation.',
    'revt': '`revt` averages the backbones of `full`, `full-pixmix` and `full-bilateral`, with the '
    'head of `full`.',
}
for _name, _note in _NOTES.items():
    methods[_name]['note'] = _note
settings = {
    name: dict(source=f'{name}_source.py', target=f'{name}_target.py', title=f'the toy {name}')
    for name in ('gta', 'synthia', 'urbansyn')
}
chosen = ['gta', 'synthia']  # the learning rates are from urbansyn
seeds = [0, 1, 2]
iterations = 350
introduction = """\
# Who generalises on the toy streets

Each method trains on one toy domain and is tested on seven that it has never seen: one backbone,
one head. `projects/toy_streets/study.py` made this page with all of its numbers{spread}.

- Backbone: a ViT of width 64 with 6 blocks, pretrained once by
  `projects/toy_streets/pretrain_toy.py`. Head: SemFPN.
- Training: {iterations} iterations of 4 crops of 256 x 256 on 300 images of the source, in one
  thread. The configs are `projects/toy_streets/configs/*_dinov2-toy_semfpn_gta2all_256x256.py`. A
  seed sets the weights of the head and of the adapter, and the order and augmentation of the
  images.
- Test: 12 images of each domain, and as many of the source that the training did not see (*source,
  held out*), which do not count in *mean of unseen*.
- Methods (docs/user_guides/methods.md): {methods}
- Learning rates: AdamW at 4e-3, one schedule for all. What trains in the backbone has a multiple of
  it (`lr_mult` in the method's config), the best of 0.15, 0.5 and 1.5, and beyond as long as the
  best was at the end: one run for each on a third source, the toy UrbanSyn, with seed 10 and 350
  iterations, judged by the mean over the same unseen domains. `full-pixmix` and
  `full-bilateral` have that of `full`. One run each is a rough choice, as rough for all.

## What this does not tell

- The foundation model is a toy. It has learned the same 19 classes from labels, on other scenes of
  the same generator in random styles. DINOv2 has learned from 142 million images without labels;
  what fine-tuning should keep of it is another thing.
- One program draws all domains. They differ in camera, light, paint and weather, and in nothing
  that it does not know.
- {iterations} iterations are a short training, with a high learning rate. Longer ones may change
  the order.
- Each domain has 12 test images, the same for all runs. The standard deviations are those of
  training, not of the choice of images, scenes or foundation model.
- Differences within one or two standard deviations mean nothing, and those of few seeds are rough
  themselves. One of many methods is the best by chance.
- None of this is about real data; `configs/` has the real settings.
"""
