# ReVT's crops of 512 x 512 (arXiv 2308.13331) at one scale, with three ways to augment them
_base_ = './sources.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(1280, 720), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDomainInputs'),
]
# tools/make_fractals.py data/fractals
pixmix = dict(type='PixMix', mixing_set='data/fractals', scale='release')  # or 'paper'
pixmix_pipeline = [*train_pipeline[:5], pixmix, train_pipeline[-1]]
pixmix_bilateral_pipeline = [
    *train_pipeline[:5],
    dict(type='BilateralFilter'),
    pixmix,
    train_pipeline[-1],
]
bilateral_pipeline = [*train_pipeline[:4], dict(type='BilateralFilter'), *train_pipeline[4:]]
# B1 to B3 differ from B5 in the release: without PhotoMetricDistortion behind the filter ...
small_bilateral_pipeline = [*bilateral_pipeline[:6], train_pipeline[-1]]
# ... and B5 is not flipped before PixMix alone.
b5_pixmix_pipeline = [*train_pipeline[:4], pixmix, train_pipeline[-1]]
train_dataloader = dict(batch_size=2)
