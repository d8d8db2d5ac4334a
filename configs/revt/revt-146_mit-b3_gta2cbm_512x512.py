# ReVT {1,4,6}, GTA -> Cityscapes, BDD100K, Mapillary (tools/train_average.py).
# Published: 48.33 mIoU on Cityscapes, 48.17 on BDD100K.
_base_ = './segformer_mit-b3_gta2cbm_512x512.py'

average = dict(
    configs=[
        'segformer_mit-b3_gta2cbm_512x512.py',
        'segformer_mit-b3_pixmix_gta2cbm_512x512.py',
        'segformer_mit-b3_pixmix-bilateral_gta2cbm_512x512.py',
    ],
    weights_filter='backbone',
)
