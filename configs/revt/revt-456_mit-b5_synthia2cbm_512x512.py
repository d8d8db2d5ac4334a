# ReVT {4,5,6}, Synthia -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 45.08 mIoU on Cityscapes, 39.62 on BDD100K.
_base_ = './segformer_mit-b5_synthia2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b5_bilateral_synthia2cbm_512x512.py',
        'segformer_mit-b5_pixmix_synthia2cbm_512x512.py',
        'segformer_mit-b5_pixmix-bilateral_synthia2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
