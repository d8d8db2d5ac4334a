# ReVT {1,4,6}, Synthia -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 40.91 mIoU on Cityscapes, 34.53 on BDD100K.
_base_ = './segformer_mit-b2_synthia2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b2_synthia2cbm_512x512.py',
        'segformer_mit-b2_pixmix_synthia2cbm_512x512.py',
        'segformer_mit-b2_pixmix-bilateral_synthia2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
