# ReVT {4,5,6}, GTA -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 49.55 mIoU on Cityscapes, 48.11 on BDD100K.
_base_ = './segformer_mit-b5_gta2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b5_bilateral_gta2cbm_512x512.py',
        'segformer_mit-b5_pixmix_gta2cbm_512x512.py',
        'segformer_mit-b5_pixmix-bilateral_gta2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
