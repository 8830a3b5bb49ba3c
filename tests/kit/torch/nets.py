"""Small PyTorch networks, exported by both of torch's exporters. Runs in the environment of scripts/setup-torch.

`python nets.py FOLDER [NAME ...]` writes NAME.old.onnx and, with external data, NAME.new.onnx; needs nothing of Skerry.
"""

import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

OPSET = 18
"""The one that docs/recipe.md names: both exporters write it without converting."""


class Function(nn.Module):
    """Layers, and what is done with them."""

    def __init__(self, compute, **layers):
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.compute = compute

    def forward(self, *inputs):
        return self.compute(*inputs, **self.layers)


class Attention(nn.Module):
    """Patches of an image, attention, and a class."""

    def __init__(self, *, fused):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, stride=8)
        self.norm = nn.LayerNorm(24)
        self.attention = nn.MultiheadAttention(24, 4, batch_first=True)
        self.qkv, self.out, self.head = nn.Linear(24, 72), nn.Linear(24, 24), nn.Linear(24, 7)
        self.mlp = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))
        self.fused = fused

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        if self.fused:
            q, k, v = self.qkv(y).reshape(y.shape[0], -1, 3, 4, 6).permute(2, 0, 3, 1, 4)
            y = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        else:
            y = self.attention(y, y, y, need_weights=False)[0]
        x = x + y
        return self.head((x + self.mlp(self.norm(x))).mean(1))


class Block(nn.Module):
    """ConvNeXt's: depthwise, LayerNorm over channels last, GELU."""

    def __init__(self, channels):
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm, self.wide = nn.LayerNorm(channels), nn.Linear(channels, 4 * channels)
        self.narrow, self.scale = nn.Linear(4 * channels, channels), nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x):
        y = self.norm(self.spread(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.narrow(F.gelu(self.wide(y)))).permute(0, 3, 1, 2)


class Csp(nn.Module):
    """A YOLO in small: split, bottlenecks, concatenation, upsampling, an anchor-free head with its decoding."""

    def __init__(self, classes=5):
        super().__init__()
        self.stem = self.conv(3, 16, 3, 2)
        self.down = self.conv(16, 32, 3, 2)
        self.inner = self.conv(16, 16, 3)
        self.join = self.conv(48, 32, 1)
        self.deep = self.conv(32, 64, 3, 2)
        self.mix = self.conv(96, 32, 1)
        self.heads = nn.ModuleList(nn.Conv2d(c, 4 * 8 + classes, 1) for c in (32, 64))
        self.project = nn.Conv2d(8, 1, 1, bias=False)
        self.classes = classes

    @staticmethod
    def conv(ins, outs, kernel, stride=1):
        padded = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(padded, nn.BatchNorm2d(outs), nn.SiLU())

    def forward(self, x):
        a, b = self.down(self.stem(x)).chunk(2, 1)
        fine = self.join(torch.cat([a, b, b + self.inner(b)], 1))
        coarse = F.max_pool2d(self.deep(fine), 5, 1, 2)
        fine = self.mix(torch.cat([fine, F.interpolate(coarse, scale_factor=2, mode="nearest")], 1))
        maps = [head(part).flatten(2) for head, part in zip(self.heads, (fine, coarse), strict=True)]
        boxes, scores = torch.cat(maps, 2).split((32, self.classes), 1)
        sides = self.project(boxes.view(x.shape[0], 4, 8, -1).transpose(2, 1).softmax(1)).view(x.shape[0], 4, -1)
        near, far = sides.chunk(2, 1)
        return torch.cat([(near + far) / 2, far - near, scores.sigmoid()], 1)


def separable():
    layers = [nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.Hardswish()]
    layers += [nn.Conv2d(12, 12, 5, 2, 2, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU6()]
    layers += [nn.Conv2d(12, 24, 1), nn.Hardsigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 6)]
    return nn.Sequential(*layers)


def residual():
    block = Function(
        lambda x, a, b, c: F.relu(b(F.relu(a(x))) + c(x)),
        a=nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32)),
        b=nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32)),
        c=nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32)),
    )
    stem = [nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def grow(mode, **options):
    resize = Function(lambda x: F.interpolate(x, mode=mode, **options))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), resize, nn.Conv2d(8, 5, 3, padding=1))


def tcn():
    layers = [
        nn.Conv1d(6, 16, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 5, 2, 2, groups=16),
        nn.PReLU(16),
    ]
    return nn.Sequential(*layers, nn.Conv1d(16, 6, 1))


def recurrent(kind):
    return Function(
        lambda x, rnn, head: head(rnn(x)[0][:, -1]), rnn=kind(9, 16, batch_first=True), head=nn.Linear(16, 4)
    )


def image(*shape):
    return torch.rand(shape or (1, 3, 32, 32))


NETS = {
    "separable": lambda: (separable(), image()),
    "residual": lambda: (residual(), image(1, 3, 40, 40)),
    "convnext": lambda: (
        nn.Sequential(
            nn.Conv2d(3, 16, 4, 4),
            Block(16),
            nn.Conv2d(16, 24, 2, 2),
            Block(24),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(24),
            nn.Linear(24, 6),
        ),
        image(),
    ),
    "attention": lambda: (Attention(fused=False), image()),
    "sdpa": lambda: (Attention(fused=True), image()),
    "csp": lambda: (Csp(), image(1, 3, 64, 64)),
    "gelu_tanh": lambda: (nn.Sequential(nn.Linear(12, 24), nn.GELU("tanh"), nn.Linear(24, 5)), image(1, 12)),
    "adaptive": lambda: (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d((5, 3)), nn.Flatten(), nn.Linear(120, 4)),
        image(),
    ),
    "adaptive_max": lambda: (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveMaxPool2d(4)), image()),
    "nearest": lambda: (grow("nearest", scale_factor=2), image()),
    "nearest_odd": lambda: (grow("nearest", size=(23, 27)), image()),
    "bilinear": lambda: (grow("bilinear", scale_factor=2, align_corners=False), image()),
    "bilinear_corners": lambda: (grow("bilinear", size=(29, 31), align_corners=True), image()),
    "bicubic": lambda: (grow("bicubic", scale_factor=2, align_corners=False), image()),
    "groupnorm": lambda: (
        nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.SiLU(), nn.Conv2d(12, 6, 3, groups=3)),
        image(),
    ),
    "instancenorm": lambda: (nn.Sequential(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.Mish()), image()),
    "lstm": lambda: (recurrent(nn.LSTM), image(1, 11, 9)),
    "gru": lambda: (recurrent(nn.GRU), image(1, 11, 9)),
    "tcn": lambda: (tcn(), image(1, 6, 50)),
    "square_sequence": lambda: (tcn(), image(1, 6, 6)),
    "tall": lambda: (
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 4)),
        image(1, 3, 48, 3),
    ),
    "audio": lambda: (
        nn.Sequential(
            nn.Conv1d(1, 8, 16, 8, 4),
            nn.BatchNorm1d(8),
            nn.LeakyReLU(0.1),
            nn.MaxPool1d(4),
            nn.Conv1d(8, 8, 3, padding=1),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        ),
        image(1, 1, 800),
    ),
    "transpose_conv": lambda: (
        nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 4, 2, 1),
            nn.ELU(),
            nn.ConvTranspose2d(6, 6, 3, 2, 1, output_padding=1, groups=6),
            nn.Tanh(),
            nn.ConvTranspose2d(6, 2, 2, 2),
        ),
        image(1, 3, 16, 16),
    ),
    "pixelshuffle": lambda: (
        nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2)),
        image(),
    ),
    "einsum": lambda: (
        Function(lambda x, a: torch.einsum("btc,bsc->bts", a(x), x).softmax(-1), a=nn.Linear(8, 8)),
        image(1, 10, 8),
    ),
    "split_cat": lambda: (
        Function(
            lambda x, a: torch.cat([p * i for i, p in enumerate(a(x).split((2, 3, 3), 1), 1)][::-1], 1).clamp(-1, 1),
            a=nn.Conv2d(3, 8, 3, padding=1),
        ),
        image(),
    ),
    "conv3d": lambda: (
        nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)),
        image(1, 2, 6, 6, 6),
    ),
    "tokens": lambda: (
        Function(lambda x, e, n, h: h(n(e(x)).mean(1)), e=nn.Embedding(50, 16), n=nn.LayerNorm(16), h=nn.Linear(16, 3)),
        torch.randint(0, 50, (1, 12)),
    ),
    "two_inputs": lambda: (
        Function(
            lambda x, v, a, b: b(torch.cat([a(x).mean((2, 3)), v], 1)),
            a=nn.Conv2d(3, 8, 3),
            b=nn.Linear(13, 4),
        ),
        (image(), image(1, 5)),
    ),
    "two_outputs": lambda: (
        Function(
            lambda x, a, b, c: (b(a(x).flatten(2).mean(2)), c(a(x))),
            a=nn.Conv2d(3, 8, 3, padding=1),
            b=nn.Linear(8, 4),
            c=nn.Conv2d(8, 7, 1),
        ),
        image(1, 3, 12, 12),
    ),
    "shuffle": lambda: (
        Function(
            lambda x, a, b: b(a(x).view(1, 2, 6, 16, 16).transpose(1, 2).reshape(1, 12, 16, 16)),
            a=nn.Conv2d(3, 12, 3, 2, 1),
            b=nn.Conv2d(12, 12, 3, groups=12),
        ),
        image(),
    ),
    "pools": lambda: (
        nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.AvgPool2d(3, 2, 1),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
            nn.ReflectionPad2d(1),
            nn.ZeroPad2d((1, 2, 0, 1)),
            nn.Softplus(),
            nn.Conv2d(6, 4, 3, dilation=2, padding=2),
        ),
        image(1, 3, 25, 25),
    ),
    "norms": lambda: (
        Function(
            lambda x, a: (
                F.normalize(a(x).flatten(1), dim=1) + torch.logsumexp(x, 3).sum((1, 2), keepdim=False)[:, None] * 0.01
            ),
            a=nn.Conv2d(3, 4, 3, 4),
        ),
        image(),
    ),
}


NEW = ("convnext", "sdpa", "csp")
"""Those that the new exporter writes, too, unless names are given: it takes a second for each."""


def export(name, folder, forms=("old", "new")):
    """The files of a network; what an exporter cannot do is printed, and its file is not there."""
    torch.manual_seed(0)
    net, inputs = NETS[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    for form in forms:
        path = folder / f"{name}.{form}.onnx"
        try:
            torch.onnx.export(net.eval(), inputs, str(path), opset_version=OPSET, dynamo=form == "new", verbose=False)
        except Exception as error:  # noqa: BLE001
            print(f"{name}.{form}: {type(error).__name__}: {' '.join(str(error).split())[:150]}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for wanted in NETS:
        if wanted in (sys.argv[2:] or NETS):
            export(wanted, Path(sys.argv[1]), ("old", "new") if sys.argv[2:] or wanted in NEW else ("old",))
