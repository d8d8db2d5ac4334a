# ReVT {1,4,6}, GTA -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 46.27 mIoU on Cityscapes, 43.29 on BDD100K.
_base_ = './segformer_mit-b2_gta2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b2_gta2cbm_512x512.py',
        'segformer_mit-b2_pixmix_gta2cbm_512x512.py',
        'segformer_mit-b2_pixmix-bilateral_gta2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
