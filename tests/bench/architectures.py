"""The networks that are measured and used as golden values: LeNet, DDNet, ResNet-18, ResNet-32, MobileNetV2 and a small ViT in PyTorch.

Knows layers and seeded weights; `width` scales every hidden layer, 1 is the network of the literature. Input: NCHW, pixels in [0, 1].
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

SHAPES = {"lenet": (1, 28, 28), "ddnet": (3, 32, 32), "rn18": (3, 32, 32), "rn32": (3, 32, 32), "mobilenetv2": (3, 32, 32), "vit": (3, 32, 32)}
CLASSES = 10


def build(name, width=1.0, seed=0):
    """An evaluation-mode network with weights that the name, the width and the seed determine."""
    torch.manual_seed(seed)
    model = {"lenet": lenet, "ddnet": ddnet, "rn18": resnet18, "rn32": resnet32, "mobilenetv2": mobilenetv2, "vit": vit}[name](width)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.1, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.1, 0.1)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.5)
    return model.eval()


def lenet(width):
    """LeNet for 1×28×28 (LeCun et al. 1998 with ReLU and max pooling): 61,706 parameters at width 1."""
    a, b, c, d = (math.ceil(n * width) for n in (6, 16, 120, 84))
    return nn.Sequential(
        nn.Conv2d(1, a, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(b * 25, c), nn.ReLU(), nn.Linear(c, d), nn.ReLU(), nn.Linear(d, CLASSES),
    )  # fmt: skip


def ddnet(width):
    """The CIFAR-10 network of Papernot et al. 2016 (defensive distillation), valid padding: 1,147,978 parameters at width 1."""
    a, b, c = (math.ceil(n * width) for n in (64, 128, 256))
    return nn.Sequential(
        nn.Conv2d(3, a, 3), nn.ReLU(), nn.Conv2d(a, a, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(a, b, 3), nn.ReLU(), nn.Conv2d(b, b, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(b * 25, c), nn.ReLU(), nn.Dropout(), nn.Linear(c, c), nn.ReLU(), nn.Dropout(), nn.Linear(c, CLASSES),
    )  # fmt: skip


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut: identity, 1×1 convolution (option B), or subsampling with zero channels (option A)."""

    def __init__(self, before, after, stride, option):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.changes = stride != 1 or before != after
        self.zeros = (after - before) // 2
        self.option = option
        if self.changes and option == "B":
            self.shortcut_conv = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut_bn = nn.BatchNorm2d(after)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.changes and self.option == "B":
            x = self.shortcut_bn(self.shortcut_conv(x))
        elif self.changes:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, widths, blocks, option):
        super().__init__()
        self.conv = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        layers, before = [], widths[0]
        for stage, width in enumerate(widths):
            for k in range(blocks):
                layers.append(Block(before, width, 2 if stage > 0 and k == 0 else 1, option))
                before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], CLASSES)

    def forward(self, x):
        y = self.layers(F.relu(self.bn(self.conv(x))))
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))


def resnet18(width):
    """The CIFAR ResNet-18 (1×1 convolutions in the shortcuts): 11,173,962 parameters at width 1."""
    return ResNet([math.ceil(n * width) for n in (64, 128, 256, 512)], 2, "B")


def resnet32(width):
    """The CIFAR ResNet-32 of He et al. 2016 (option A shortcuts): 464,154 parameters at width 1."""
    return ResNet([math.ceil(n * width) for n in (16, 32, 64)], 5, "A")


def mobilenetv2(width):
    """MobileNetV2 of Sandler et al. 2018 as torchvision has it, for 3×32×32 with a first stride of 1: 2,236,682 parameters at width 1."""
    from torchvision.models import mobilenet_v2

    model = mobilenet_v2(num_classes=CLASSES, width_mult=width)
    model.features[0][0].stride = (1, 1)
    return model


def vit(width):
    """A small ViT (Dosovitskiy et al. 2021) as torchvision has it: patches of 4×4, six layers of 128·width, four heads."""
    from torchvision.models import VisionTransformer

    hidden = 4 * math.ceil(32 * width)
    return VisionTransformer(
        image_size=32, patch_size=4, num_layers=6, num_heads=4, hidden_dim=hidden, mlp_dim=2 * hidden, num_classes=CLASSES
    )  # fmt: skip


def export(model, name, path, opset=18):
    """Write the network as it stands: BatchNormalization kept, batch symbolic, input `image`, output `logits`, one file."""
    import onnx
    import onnxscript.optimizer

    program = torch.onnx.export(
        model, (torch.rand(2, *SHAPES[name]),), input_names=["image"], output_names=["logits"], opset_version=opset,
        dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, optimize=False, verbose=False,
    )  # fmt: skip
    # Folds the shape arithmetic. What `optimize=True` would do beyond that is to fold BatchNormalization away.
    onnxscript.optimizer.fold_constants(program.model)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    proto = program.model_proto
    graph = proto.graph
    graph.ClearField("value_info")
    # The exporter notes the Python lines that each node came from, with the paths of the machine.
    for noted in [proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output]:
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
