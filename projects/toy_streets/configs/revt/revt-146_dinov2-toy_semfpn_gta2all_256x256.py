# ReVT {1,4,6} of fully fine-tuned backbones, GTA -> all others (tools/train_average.py)
_base_ = '../full_dinov2-toy_semfpn_gta2all_256x256.py'

average = dict(
    configs=[
        '../full_dinov2-toy_semfpn_gta2all_256x256.py',
        '../full-pixmix_dinov2-toy_semfpn_gta2all_256x256.py',
        'full-pixmix-bilateral_dinov2-toy_semfpn_gta2all_256x256.py',
    ],
    weights_filter='backbone',
)
