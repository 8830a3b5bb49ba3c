"""Makes the zoo's torch models: small networks trained on Fashion-MNIST for a minute and exported to ONNX.

    python zoo_torch.py CLOTHES.npz OUT NAME ...

Runs with a Python that has torch, onnx and onnxscript and nothing else. The newer exporter writes all but the recurrent
networks, which the older one writes as LSTM and GRU of ONNX.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

EPOCHS, BATCH, OPSET = 4, 64, 18


class Residual(nn.Module):
    """Residual blocks with LeakyReLU, squeeze-and-excitation and adaptive pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.LeakyReLU(0.1))
        widths = ((16, 16), (16, 32))
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.PReLU(o), nn.Conv2d(o, o, 3, padding=1))
            for i, o in widths
        )
        self.gates = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(o, 8, 1), nn.ReLU(), nn.Conv2d(8, o, 1), nn.Sigmoid())
            for _, o in widths
        )
        self.skips = nn.ModuleList(nn.Conv2d(i, o, 1, 2) for i, o in widths)
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = self.stem(x)
        for body, gate, skip in zip(self.body, self.gates, self.skips, strict=True):
            y = body(x)
            x = functional.leaky_relu(y * gate(y) + skip(x), 0.1)
        return self.head(functional.adaptive_avg_pool2d(x, 2).flatten(1))


class Mobile(nn.Module):
    """Inverted residuals with depthwise convolutions and hard-swish."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Hardswish())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(16, 64, 1), nn.BatchNorm2d(64), nn.Hardswish(),
                nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.BatchNorm2d(64), nn.ReLU6(),
                nn.Conv2d(64, 16, 1), nn.BatchNorm2d(16),
            )
            for _ in range(3)
        )  # fmt: skip
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x).softmax(-1)


class ChannelsLast(nn.LayerNorm):
    """LayerNorm over the channels of planes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """Depthwise 7x7, LayerNorm over channels, GELU, scaled residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 4, 4), ChannelsLast(24))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(24, 24, 7, padding=3, groups=24), ChannelsLast(24),
                nn.Conv2d(24, 96, 1), nn.GELU(), nn.Conv2d(96, 24, 1),
            )
            for _ in range(3)
        )  # fmt: skip
        self.scale = nn.ParameterList(nn.Parameter(torch.full((24, 1, 1), 0.1)) for _ in range(3))
        self.head = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = self.stem(x)
        for block, scale in zip(self.blocks, self.scale, strict=True):
            x = x + scale * block(x)
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    """Patches, learned positions, TransformerEncoderLayer with GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 48, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 49, 48) * 0.02)
        layer = nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.head(self.body(self.patches(x).flatten(2).transpose(1, 2) + self.places).mean(1))


class Rows(nn.Module):
    """The rows of a picture one after the other through a recurrent layer."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return self.head(self.layer(x.squeeze(1))[0][:, -1])


MADE: dict[str, Callable[[], nn.Module]] = {
    "torch-residual": Residual,
    "torch-mobile": Mobile,
    "torch-convnext": ConvNext,
    "torch-transformer": Transformer,
    "torch-lstm": lambda: Rows(nn.LSTM(28, 48, batch_first=True), 48),
    "torch-gru": lambda: Rows(nn.GRU(28, 32, batch_first=True, bidirectional=True), 64),
}


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """A few epochs of Adam."""
    chosen, order = torch.optim.Adam(model.parameters(), 2e-3), torch.Generator().manual_seed(1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            chosen.zero_grad()
            given = model(x[rows])
            loss = functional.nll_loss(torch.log(given + 1e-9), y[rows]) if isinstance(model, Mobile) else (
                functional.cross_entropy(given, y[rows])
            )  # fmt: skip
            loss.backward()
            chosen.step()
    model.eval()


def export(model: nn.Module, some: torch.Tensor, file: Path) -> None:
    """As torch's own documentation does it."""
    options: dict[str, Any] = {"input_names": ["image"], "output_names": ["classes"], "opset_version": OPSET}
    torch.onnx.export(model, (some,), str(file), dynamo=not isinstance(model, Rows), **options)


def main(clothes: str, out: str, *names: str) -> None:
    """Write each as OUT/NAME.onnx."""
    torch.set_num_threads(1)
    with np.load(clothes) as data:
        x, y = torch.tensor(data["inputs"][:, None] / 255).float(), torch.tensor(data["labels"])
    for name in names:
        torch.manual_seed(1)
        model = MADE[name]()
        train(model, x, y)
        export(model, x[:1], Path(out) / f"{name}.onnx")
        print(f"made {name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
