# ReVT {1,4,6}, Synthia -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 46.28 mIoU on Cityscapes, 40.30 on BDD100K.
_base_ = './segformer_mit-b5_synthia2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b5_synthia2cbm_512x512.py',
        'segformer_mit-b5_pixmix_synthia2cbm_512x512.py',
        'segformer_mit-b5_pixmix-bilateral_synthia2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
