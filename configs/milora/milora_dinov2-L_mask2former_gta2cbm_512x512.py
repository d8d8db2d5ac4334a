# MiLoRA (arXiv 2406.09044), trainable minor components in all blocks.
# GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = '../lora/lora_dinov2-L_mask2former_gta2cbm_512x512.py'

model = dict(backbone=dict(adapter=dict(type='MiLoRA')))
