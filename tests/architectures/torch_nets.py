"""Networks of torchvision and timm at small widths, as PyTorch's two exporters write them.

    python tests/architectures/torch_nets.py [NAME …]
"""

from functools import partial

import timm.models as tm
import torch
from golden import Net, command, write_torch
from timm.models.metaformer import MetaFormer
from torch import nn
from torchvision import models as tv
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.googlenet import Inception
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.squeezenet import Fire

CLASSES = 5
RAW = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def resnet():
    down = nn.Sequential(nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12))
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
        BasicBlock(8, 12, 2, down), head(12),
    )  # fmt: skip


def resnext():
    down = nn.Sequential(nn.Conv2d(8, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        Bottleneck(8, 8, 2, down, groups=4, base_width=32), Bottleneck(32, 8, groups=2, base_width=32), head(32),
    )  # fmt: skip


def mobilenet_v3():
    conf = partial(InvertedResidualConfig, width_mult=1.0)
    setting = [conf(8, 3, 8, 8, True, "RE", 2, 1), conf(8, 5, 16, 12, False, "HS", 1, 1), conf(12, 5, 24, 12, True, "HS", 2, 1)]
    return MobileNetV3(setting, last_channel=16, num_classes=CLASSES)


def mobilenet_v2():
    setting = [[1, 8, 1, 1], [4, 12, 2, 2]]
    model = tv.mobilenet_v2(width_mult=0.25, inverted_residual_setting=setting, num_classes=CLASSES, round_nearest=4)
    model.features[-1] = nn.Sequential(nn.Conv2d(model.features[-1][0].in_channels, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
    model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, CLASSES))
    return model


def efficientnet():
    setting = [MBConvConfig(1, 3, 1, 8, 8, 1, 1.0, 1.0), MBConvConfig(3, 3, 2, 8, 8, 2, 1.0, 1.0)]
    return EfficientNet(setting, dropout=0.2, stochastic_depth_prob=0.2, last_channel=32, num_classes=CLASSES)


def convnext():
    return tv.ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], layer_scale=0.5, num_classes=CLASSES)


def densenet():
    return DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=CLASSES)


def vit():
    return tv.VisionTransformer(8, 4, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=CLASSES)


def swin():
    return tv.SwinTransformer([2, 2], 8, depths=[2], num_heads=[2], window_size=[2, 2], mlp_ratio=2.0, num_classes=CLASSES)


def swin_v2():
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    return tv.SwinTransformer(
        [2, 2], 8, depths=[2], num_heads=[2], window_size=[2, 2], mlp_ratio=2.0, num_classes=CLASSES,
        block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2,
    )  # fmt: skip


def shufflenet_v2():
    model = tv.ShuffleNetV2([1, 2, 1], [8, 8, 12, 24, 24], num_classes=CLASSES)
    model.stage4, model.conv5, model.fc = nn.Identity(), nn.Identity(), nn.Linear(12, CLASSES)
    return model


def squeezenet():
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(12, 6, 12, 12), Fire(24, 6, 12, 12),
        nn.Dropout(0.5), nn.Conv2d(24, CLASSES, 1), nn.ReLU(True), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    )  # fmt: skip


def googlenet():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Inception(8, 4, 4, 6, 2, 4, 4),
        nn.MaxPool2d(3, 1, 1), Inception(18, 4, 4, 6, 2, 4, 4), nn.AvgPool2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(18, CLASSES),
    )  # fmt: skip


def regnet():
    return RegNet(BlockParams([1, 1], [8, 16], [4, 8], [1.0, 1.0], [2, 2], 0.25), stem_width=8, num_classes=CLASSES)


def maxvit():
    return tv.MaxVit(
        (16, 16), 8, 4, [8], [1], 4, 0.0, squeeze_ratio=0.25, expansion_ratio=2, mlp_ratio=2, num_classes=CLASSES,
    )  # fmt: skip


def mlp_mixer():
    return tm.mlp_mixer.MlpMixer(CLASSES, 8, 3, 4, num_blocks=2, embed_dim=16, mlp_ratio=(0.5, 2.0))


def resmlp():
    return tm.mlp_mixer.MlpMixer(
        CLASSES, 8, 3, 4, num_blocks=1, embed_dim=16, mlp_ratio=2, block_layer=tm.mlp_mixer.ResBlock, norm_layer=tm.mlp_mixer.Affine,
    )  # fmt: skip


def gmlp():
    return tm.mlp_mixer.MlpMixer(
        CLASSES, 8, 3, 4, num_blocks=1, embed_dim=16, mlp_ratio=2,
        block_layer=tm.mlp_mixer.SpatialGatingBlock, mlp_layer=tm.mlp_mixer.GatedMlp,
    )  # fmt: skip


def ghostnet():
    module = tm.ghostnet
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), module.GhostBottleneck(8, 16, 12, se_ratio=0.25), module.GhostBottleneck(12, 24, 12, stride=2), head(12)
    )


def repvgg():
    """Three branches to a block, not merged."""
    block = partial(tm.byobnet.RepVggBlock, layers=tm.byobnet.LayerFn())
    return nn.Sequential(block(3, 8, stride=2), block(8, 8), block(8, 16, stride=2), head(16))


def poolformer():
    return MetaFormer(depths=(1, 1), dims=(4, 8), num_classes=CLASSES, mlp_act=nn.GELU, layer_scale_init_values=0.5)


def convmixer():
    return tm.convmixer.ConvMixer(dim=16, depth=2, kernel_size=5, patch_size=4, num_classes=CLASSES)


def xcit():
    return tm.xcit.Xcit(16, 8, num_classes=CLASSES, embed_dim=8, depth=1, num_heads=2, mlp_ratio=2, cls_attn_layers=1, eta=0.5)


def nfnet():
    config = tm.nfnet.NfCfg(depths=(1,), channels=(16,), stem_type="3x3", stem_chs=8, group_size=8, bottle_ratio=0.5, attn_layer="eca", attn_kwargs={})
    return tm.nfnet.NormFreeNet(config, num_classes=CLASSES)


def resnetv2():
    """Pre-activation blocks with group normalisation and standardised weights (BiT)."""
    norm, conv = partial(tm.resnetv2.GroupNormAct, num_groups=4), tm.resnetv2.StdConv2d
    block = partial(tm.resnetv2.PreActBasic, conv_layer=conv, norm_layer=norm, act_layer=nn.ReLU)
    down = partial(tm.resnetv2.DownsampleConv, preact=True)
    return nn.Sequential(conv(3, 8, 3, 2), block(8, 8), block(8, 12, stride=2, proj_layer=down), norm(12), head(12))


def res2net():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), tm.res2net.Bottle2neck(16, 4, base_width=64, scale=4, act_layer=nn.ReLU, norm_layer=nn.BatchNorm2d), head(16),
    )  # fmt: skip


TINY, SMALL, IMAGE = (3, 8, 8), (3, 12, 12), (3, 16, 16)
NETS = {
    "resnet": Net(resnet, TINY, 9, batch=1, input="input.1", output="out 1", **RAW),
    "resnext": Net(resnext, TINY, 10),
    "mobilenet_v3": Net(mobilenet_v3, TINY, 14),
    "mobilenet_v2": Net(mobilenet_v2, TINY, 10, batch=1, **RAW),
    "efficientnet": Net(efficientnet, TINY, 18, dynamo=True),
    "convnext": Net(convnext, TINY, 18, dynamo=True),
    "densenet": Net(densenet, TINY, 12, **RAW),
    "vit": Net(vit, TINY, 18, dynamo=True),
    "vit_scripted": Net(vit, TINY, 14),
    "swin": Net(swin, TINY, 18, dynamo=True),
    "swin_v2": Net(swin_v2, SMALL, 18, dynamo=True, batch=1),
    "shufflenet_v2": Net(shufflenet_v2, TINY, 11),
    "squeezenet": Net(squeezenet, SMALL, 9),
    "googlenet": Net(googlenet, TINY, 9, **RAW),
    "regnet": Net(regnet, TINY, 13),
    "maxvit": Net(maxvit, IMAGE, 18, dynamo=True),
    "mlp_mixer": Net(mlp_mixer, TINY, 20, dynamo=True),
    "resmlp": Net(resmlp, TINY, 15),
    "gmlp": Net(gmlp, TINY, 16),
    "ghostnet": Net(ghostnet, TINY, 11),
    "repvgg": Net(repvgg, TINY, 19, dynamo=True),
    "poolformer": Net(poolformer, TINY, 16),
    "convmixer": Net(convmixer, TINY, 20),
    "xcit": Net(xcit, IMAGE, 14),
    "nfnet": Net(nfnet, TINY, 11),
    "resnetv2": Net(resnetv2, TINY, 18, dynamo=True),
    "res2net": Net(res2net, TINY, 8, batch=2),
}

if __name__ == "__main__":
    command("torch", NETS, write_torch)
