# ReVT {1,4,6}, Synthia -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 44.97 mIoU on Cityscapes, 38.65 on BDD100K.
_base_ = './segformer_mit-b3_synthia2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b3_synthia2cbm_512x512.py',
        'segformer_mit-b3_pixmix_synthia2cbm_512x512.py',
        'segformer_mit-b3_pixmix-bilateral_synthia2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
