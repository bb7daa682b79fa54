"""Small networks with what exporters write for everything that is not a stack of convolutions, in PyTorch.

Attention over learned queries, routing, splines, distances, recurrences, resampling, gathers and scatters, signals and volumes.

    python tests/architectures/torch_idioms.py [NAME …]
"""

import math

import torch
import torch.nn.functional as F
from golden import Net, command, write_torch
from torch import nn

CLASSES = 5


class Formula(nn.Module):
    """A network that is a formula of parameters and modules."""

    def __init__(self, formula, **parts):
        super().__init__()
        self.formula = formula
        for name, part in parts.items():
            setattr(self, name, part if isinstance(part, nn.Module | nn.Parameter) else nn.Buffer(part))

    def forward(self, x):
        return self.formula(self, x)


def weights(*shape):
    return nn.Parameter(torch.randn(shape))


def points(count):
    return torch.linspace(-1, 1, count)


def alexnet():
    """Convolution, local response normalisation, overlapping pools, fully connected layers with dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 1, 2), nn.ReLU(), nn.LocalResponseNorm(5, 1e-2, 0.75, 2.0), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 3, 1, 1, groups=2), nn.ReLU(), nn.LocalResponseNorm(3, 1e-1, 0.75, 1.0), nn.MaxPool2d(3, 2),
        nn.Flatten(), nn.Linear(48, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, CLASSES),
    )  # fmt: skip


def vgg():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, CLASSES), nn.LogSoftmax(1),
    )  # fmt: skip


def unet():
    """Down, up by interpolation and by a transposed convolution, across; classes by the mean over space."""

    def formula(m, x):
        a = m.first(x).relu()
        b = m.down(F.max_pool2d(a, 2)).relu()
        c = m.deep(F.max_pool2d(b, 2)).relu()
        b = m.merge(torch.cat([F.interpolate(c, scale_factor=2, mode="nearest"), b], 1)).relu()
        return m.last(torch.cat([m.up(b), a], 1)).mean((2, 3))

    return Formula(
        formula, first=nn.Conv2d(3, 6, 3, padding=1), down=nn.Conv2d(6, 8, 3, padding=1), deep=nn.Conv2d(8, 8, 3, padding=1),
        merge=nn.Conv2d(16, 8, 3, padding=1), up=nn.ConvTranspose2d(8, 6, 2, 2), last=nn.Conv2d(12, CLASSES, 1),
    )  # fmt: skip


def pyramid():
    """Features at three sizes, brought to one by bilinear interpolation."""

    def formula(m, x):
        a = m.first(x).relu()
        parts = [a, *(F.interpolate(F.adaptive_avg_pool2d(a, n), a.shape[2:], mode="bilinear", align_corners=False) for n in (1, 2, 3))]
        return m.last(torch.cat(parts, 1)).amax((2, 3))

    return Formula(formula, first=nn.Conv2d(3, 6, 3, 2, 1), last=nn.Conv2d(24, CLASSES, 1))


def spatial_transformer():
    """A network that says how to turn the image before it is looked at (Jaderberg et al. 2015)."""

    def formula(m, x):
        theta = m.where(x).view(-1, 2, 3) * 0.3 + torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=x.dtype)
        # Grids by hand: the exporters have no affine_grid below opset 20.
        ones = torch.ones(12, 12, dtype=x.dtype)
        base = torch.stack([m.line.expand(12, 12), m.line[:, None].expand(12, 12), ones], 2).reshape(1, 144, 3)
        grid = (base @ theta.transpose(1, 2)).view(-1, 12, 12, 2)
        return m.what(F.grid_sample(x, grid, align_corners=False))

    return Formula(
        formula, line=points(12) * 11 / 12, where=nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(100, 6)),
        what=nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(150, CLASSES)),
    )  # fmt: skip


def perceiver():
    """Learned queries that look at pixels with Fourier positions."""

    def formula(m, x):
        tokens = m.embed(torch.cat([x.flatten(2).transpose(1, 2), m.place.expand(x.shape[0], -1, -1)], 2))
        latent = m.latent.expand(x.shape[0], -1, -1)
        for _ in range(2):
            latent = latent + m.cross(m.before(latent), tokens, tokens, need_weights=False)[0]
            latent = latent + m.mlp(latent)
        return m.head(latent.mean(1))

    u, v = torch.meshgrid(points(8), points(8), indexing="ij")
    place = torch.stack([f(k * math.pi * t) for t in (u, v) for k in (1, 2) for f in (torch.sin, torch.cos)], -1).reshape(1, 64, 8)
    return Formula(
        formula, place=place, embed=nn.Linear(11, 16), latent=weights(1, 4, 16), cross=nn.MultiheadAttention(16, 2, batch_first=True),
        before=nn.LayerNorm(16), mlp=nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 24), nn.GELU("tanh"), nn.Linear(24, 16)), head=nn.Linear(16, CLASSES),
    )  # fmt: skip


def transformer():
    """An encoder over the rows of an image, with a causal mask and sinusoidal positions."""
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, norm_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(8)

    def formula(m, x):
        t = m.embed(x) * math.sqrt(16) + m.place
        return m.head(m.encoder(t, mask=m.mask)[:, -1])

    angle = torch.arange(8)[:, None] / 10 ** torch.arange(8)[None]
    return Formula(
        formula, embed=nn.Linear(12, 16), place=torch.cat([angle.sin(), angle.cos()], 1), mask=mask,
        encoder=nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), head=nn.Linear(16, CLASSES),
    )  # fmt: skip


def linear_attention():
    """Attention without softmax: φ(q)(φ(k)ᵀv), φ = elu + 1, written as einsum (Katharopoulos et al. 2020)."""

    def formula(m, x):
        q, k, v = m.qkv(x).view(-1, 8, 3, 2, 8).unbind(2)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        kv = torch.einsum("nshd,nshm->nhmd", k, v)
        z = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(1)) + 1e-6)
        return m.head(torch.einsum("nlhd,nhmd,nlh->nlhm", q, kv, z).reshape(-1, 8, 16).mean(1))

    return Formula(formula, qkv=nn.Linear(12, 48), head=nn.Linear(16, CLASSES))


class Last(nn.Module):
    """A recurrent layer that hands over its last state."""

    def __init__(self, layer, bias_free=False):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), CLASSES)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def rnn():
    return Last(nn.RNN(12, 10, batch_first=True))


def gru():
    return Last(nn.GRU(12, 8, num_layers=2, batch_first=True))


def lstm():
    return Last(nn.LSTM(12, 8, batch_first=True))


def bilstm():
    return Last(nn.LSTM(12, 6, batch_first=True, bidirectional=True))


def unrolled_lstm():
    """A cell in a Python loop, which exporters unroll."""

    def formula(m, x):
        h = c = x.new_zeros(x.shape[0], 8)
        for t in range(4):
            h, c = m.cell(x[:, t], (h, c))
        return m.head(h)

    return Formula(formula, cell=nn.LSTMCell(12, 8), head=nn.Linear(8, CLASSES))


def unrolled_gru():
    def formula(m, x):
        h = x.new_zeros(x.shape[0], 8)
        for t in range(4):
            h = m.cell(x[:, t], h)
        return m.head(h)

    return Formula(formula, cell=nn.GRUCell(12, 8), head=nn.Linear(8, CLASSES))


def signal():
    """One-dimensional convolutions with parametric slopes and instance normalisation."""
    return nn.Sequential(
        nn.Conv1d(2, 8, 7, 2, 3), nn.InstanceNorm1d(8, affine=True), nn.PReLU(8), nn.MaxPool1d(3, 2, 1), nn.Conv1d(8, 12, 3, dilation=2),
        nn.BatchNorm1d(12), nn.PReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, CLASSES),
    )  # fmt: skip


def wavenet():
    """Causal dilated convolutions with gates and skips."""

    def formula(m, x):
        skips = 0
        for k in (1, 2, 4):
            y = getattr(m, f"c{k}")(F.pad(x, (k, 0)))
            a, b = y.chunk(2, 1)
            y = torch.tanh(a) * torch.sigmoid(b)
            skips = skips + getattr(m, f"s{k}")(y)
            x = x + getattr(m, f"r{k}")(y)
        return m.head(F.relu(skips)).mean(-1)

    parts = {f"c{k}": nn.Conv1d(4, 12, 2, dilation=k) for k in (1, 2, 4)}
    parts |= {f"{n}{k}": nn.Conv1d(6, o, 1) for k in (1, 2, 4) for n, o in (("s", 8), ("r", 4))}
    return Formula(formula, head=nn.Conv1d(8, CLASSES, 1), **parts)


def volume():
    """Three-dimensional convolutions and pools."""
    return nn.Sequential(
        nn.Conv3d(1, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ELU(), nn.AvgPool3d(2), nn.Conv3d(6, 8, (1, 3, 3)), nn.CELU(1.5),
        nn.MaxPool3d((1, 2, 2)), nn.Flatten(), nn.Linear(24, CLASSES),
    )  # fmt: skip


def capsules():
    """Squashed vectors that agree on their parents, two rounds of routing; classes are lengths (Sabour et al. 2017)."""

    def squash(s):
        n2 = (s * s).sum(-1, keepdim=True)
        return n2 / (1 + n2) * s / torch.sqrt(n2 + 1e-8)

    def formula(m, x):
        u = squash(m.primary(m.conv(x).relu()).view(-1, 4, 4, 9).permute(0, 1, 3, 2).reshape(-1, 36, 4))
        u_hat = (m.w @ u[:, :, None, :, None]).squeeze(-1)
        b = torch.zeros_like(u_hat[..., :1])
        for i in range(2):
            v = squash((torch.softmax(b, 2) * u_hat).sum(1, keepdim=True))
            if i == 0:
                b = b + (u_hat * v).sum(-1, keepdim=True)
        return v.squeeze(1).norm(dim=-1)

    return Formula(formula, conv=nn.Conv2d(3, 8, 3, 2), primary=nn.Conv2d(8, 16, 3), w=weights(36, CLASSES, 4, 4))


def kan():
    """Layers of learned cubic B-splines beside a SiLU (Liu et al. 2024), the basis by Cox and de Boor."""
    grid = torch.arange(-3, 9) / 5 * 2 - 1

    def layer(m, x, coefficients, base):
        g, t = m.grid, x[..., None]
        bases = ((t >= g[:-1]) & (t < g[1:])).to(x.dtype)
        for k in (1, 2, 3):
            left = (t - g[: -(k + 1)]) / (g[k:-1] - g[: -(k + 1)])
            right = (g[k + 1 :] - t) / (g[k + 1 :] - g[1:-k])
            bases = left * bases[..., :-1] + right * bases[..., 1:]
        return F.linear(F.silu(x), base) + F.linear(bases.flatten(-2), coefficients)

    def formula(m, x):
        x = layer(m, m.first(x.flatten(1)).tanh(), m.c1, m.b1)
        return layer(m, x.clamp(-0.99, 0.99), m.c2, m.b2)

    return Formula(
        formula, grid=grid, first=nn.Linear(48, 8), c1=weights(8, 64), b1=weights(8, 8), c2=weights(CLASSES, 64), b2=weights(CLASSES, 8)
    )


def radial():
    """Gaussian bumps around centres: exp(−γ‖x − c‖²)."""

    def formula(m, x):
        d = (x.flatten(1)[:, None] - m.centres).pow(2).sum(-1)
        return m.head(torch.exp(-m.gamma.abs() * d))

    return Formula(formula, centres=weights(12, 48), gamma=nn.Parameter(torch.full((12,), 0.04)), head=nn.Linear(12, CLASSES))


def prototypes():
    """Cosine similarity to one direction per class, with a temperature."""

    def formula(m, x):
        z = F.normalize(m.embed(x), dim=1)
        return 7.0 * F.linear(z, F.normalize(m.directions, dim=1))

    return Formula(formula, embed=nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Softsign(), nn.Flatten(), nn.Linear(72, 12)), directions=weights(CLASSES, 12))


def distances():
    """Minus the Euclidean distance to centres."""

    def formula(m, x):
        return -torch.cdist(m.embed(x), m.centres)

    return Formula(formula, embed=nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.Mish()), centres=weights(CLASSES, 12))


def maxout():
    """The largest of three linear maps (Goodfellow et al. 2013), and minima beside them."""

    def formula(m, x):
        z = m.first(x.flatten(1)).view(-1, 8, 3)
        a = torch.maximum(z[..., 0], torch.maximum(z[..., 1], z[..., 2]))
        return m.last(torch.cat([a, z.amin(-1), torch.minimum(z.sum(-1), m.bound)], 1))

    return Formula(formula, first=nn.Linear(48, 24), bound=nn.Parameter(torch.zeros(8)), last=nn.Linear(24, CLASSES))


def sines():
    """Sinusoidal layers (Sitzmann et al. 2020) on pixels and their phases."""

    def formula(m, x):
        z = torch.sin(3 * m.first(x.flatten(1)))
        z = torch.cat([z, torch.cos(m.second(z))], 1)
        return m.last(z * torch.atan(z)) + torch.log1p(z.abs()).sum(1, keepdim=True) * m.scale

    return Formula(formula, first=nn.Linear(48, 12), second=nn.Linear(12, 12), last=nn.Linear(24, CLASSES), scale=weights(1, CLASSES))


def focus():
    """Pixels of every second row and column as channels, Mish and leaky slopes, pools of three sizes side by side (YOLO)."""

    def formula(m, x):
        x = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        x = F.mish(m.first(x))
        x = torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (3, 5))], 1)
        x = F.pixel_shuffle(F.leaky_relu(m.second(x), 0.1), 2)
        return m.last(F.leaky_relu(F.pixel_unshuffle(x, 3), 0.1)).mean((2, 3))

    return Formula(formula, first=nn.Conv2d(12, 8, 3, padding=1), second=nn.Conv2d(24, 8, 1), last=nn.Conv2d(18, CLASSES, 1))


def mirrored():
    """Reflected and repeated borders, self-normalising activations."""
    return nn.Sequential(
        nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5, 2), nn.SELU(), nn.AlphaDropout(0.1), nn.ReplicationPad2d((1, 0, 0, 1)), nn.Conv2d(8, 8, 3),
        nn.Hardtanh(-0.8, 0.9), nn.ZeroPad2d(1), nn.Conv2d(8, 8, 3, 2), nn.Tanhshrink(), nn.Flatten(), nn.Linear(72, CLASSES),
    )  # fmt: skip


def activations():
    """One channel each for activations that are seldom seen together."""
    zoo = [
        nn.Softplus(2.0), nn.LogSigmoid(), nn.Softshrink(0.2), nn.Hardshrink(0.2), nn.Threshold(0, 0), nn.ELU(0.7), nn.Softmin(-1), nn.GLU(-1),
        nn.Softsign(), nn.CELU(0.6), nn.RReLU(), nn.Sigmoid(),
    ]  # fmt: skip

    def formula(m, x):
        z = m.first(x).flatten(2)
        return m.last(torch.cat([f(z[:, i]) for i, f in enumerate(m.zoo)], 1))

    return Formula(formula, first=nn.Conv2d(3, len(zoo), 2, 2), zoo=nn.ModuleList(zoo), last=nn.Linear(12 * 16 - 8, CLASSES))


def largest():
    """The three largest responses of every channel, and attention kept to the four best keys."""

    def formula(m, x):
        z = m.first(x).flatten(2)
        top, place = z.topk(3, 2)
        scores = m.query(top) @ z / 3
        kept = torch.full_like(scores, -1e4).scatter(2, scores.topk(4, 2).indices, scores.topk(4, 2).values)
        mixed = torch.softmax(kept, 2) @ z.transpose(1, 2)
        return m.last(torch.cat([top.flatten(1), torch.gather(z, 2, place.flip(2)).flatten(1), mixed.flatten(1)], 1))

    return Formula(formula, first=nn.Conv2d(3, 6, 3, 2), query=nn.Linear(3, 6), last=nn.Linear(72, CLASSES))


def graph():
    """Messages along the edges of a fixed graph of patches, added up where they arrive."""
    source = torch.tensor([0, 1, 2, 3, 0, 2, 1, 3, 3, 0])
    target = torch.tensor([1, 2, 3, 0, 2, 0, 3, 1, 2, 0])

    def formula(m, x):
        z = x.unfold(2, 4, 4).unfold(3, 4, 4).reshape(-1, 3, 4, 16).permute(0, 2, 1, 3).flatten(2)
        z = m.embed(z).relu()
        for _ in range(2):
            messages = m.edge(torch.cat([z.index_select(1, m.source), z.index_select(1, m.target)], 2)).tanh()
            z = z.index_add(1, m.target, messages)
        return m.head(z.logsumexp(1))

    return Formula(formula, source=source, target=target, embed=nn.Linear(48, 8), edge=nn.Linear(16, 8), head=nn.Linear(8, CLASSES))


def norms():
    """Pools and statistics: Lp pools, standard deviations, products, cumulative sums."""

    def formula(m, x):
        z = m.first(x)
        a = F.lp_pool2d(z.sigmoid(), 3.0, 2)
        b = z.flatten(2)
        parts = [a.flatten(1), b.std(2), b.var(2, unbiased=False), b.abs().mean(2), b.cumsum(2)[:, :, ::5].flatten(1), (1 + 0.1 * b[..., :4]).prod(2)]
        return m.last(torch.cat(parts, 1))

    return Formula(formula, first=nn.Conv2d(3, 4, 3, 1), last=nn.Linear(4 * 9 + 4 * 4 + 4 * 8, CLASSES))


def ode():
    """Four steps of Runge and Kutta through one small field (Chen et al. 2018)."""

    def formula(m, x):
        z, h = m.embed(x.flatten(1)), 0.25
        for _ in range(4):
            a = m.field(z)
            b = m.field(z + h / 2 * a)
            c = m.field(z + h / 2 * b)
            z = z + h / 6 * (a + 2 * b + 2 * c + m.field(z + h * c))
        return m.head(z)

    field = nn.Sequential(nn.Linear(8, 12), nn.Softplus(), nn.Linear(12, 8), nn.Tanh())
    return Formula(formula, embed=nn.Linear(48, 8), field=field, head=nn.Linear(8, CLASSES))


def hyper():
    """A network that writes the kernels with which another one looks at the same image."""

    def formula(m, x):
        kernels = m.writer(x.mean((2, 3))).view(-1, 4, 1, 1, 9)
        y = F.pad(m.first(x), (1, 1, 1, 1))
        y = (torch.stack([y[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)], -1) * kernels).sum(-1)
        return m.head(F.hardswish(y).flatten(1))

    return Formula(formula, writer=nn.Linear(3, 36), first=nn.Conv2d(3, 4, 1), head=nn.Linear(256, CLASSES))


PATCH, SQUARE, ROWS, SIGNAL = (3, 4, 4), (3, 8, 8), (8, 12), (2, 48)
NETS = {
    "alexnet": Net(alexnet, (3, 12, 12), 9, batch=1),
    "vgg": Net(vgg, (3, 8, 8), 9, training=torch.onnx.TrainingMode.PRESERVE),
    "unet": Net(unet, (3, 8, 8), 11),
    "pyramid": Net(pyramid, (3, 12, 12), 13, batch=1),
    "spatial_transformer": Net(spatial_transformer, (3, 12, 12), 18, dynamo=True),
    "perceiver": Net(perceiver, SQUARE, 18, dynamo=True),
    "transformer": Net(transformer, ROWS, 14),
    "linear_attention": Net(linear_attention, ROWS, 13),
    "rnn": Net(rnn, ROWS, 13),
    "gru": Net(gru, ROWS, 14),
    "lstm": Net(lstm, ROWS, 15, batch=1),
    "bilstm": Net(bilstm, ROWS, 18),
    "unrolled_lstm": Net(unrolled_lstm, (4, 12), 11),
    "unrolled_gru": Net(unrolled_gru, (4, 12), 18, dynamo=True),
    "signal": Net(signal, SIGNAL, 13),
    "wavenet": Net(wavenet, (4, 16), 11),
    "volume": Net(volume, (1, 6, 8, 8), 12),
    "capsules": Net(capsules, (3, 12, 12), 13),
    "kan": Net(kan, PATCH, 16),
    "radial": Net(radial, PATCH, 18, dynamo=True),
    "prototypes": Net(prototypes, (3, 8, 8), 11),
    "distances": Net(distances, PATCH, 18),
    "maxout": Net(maxout, PATCH, 12),
    "sines": Net(sines, PATCH, 20, dynamo=True),
    "focus": Net(focus, (3, 12, 12), 18),
    "mirrored": Net(mirrored, (3, 12, 12), 19),
    "activations": Net(activations, (3, 8, 8), 16),
    "largest": Net(largest, SQUARE, 17),
    "graph": Net(graph, SQUARE, 18, dynamo=True),
    "norms": Net(norms, SQUARE, 14),
    "ode": Net(ode, PATCH, 10),
    "hyper": Net(hyper, SQUARE, 18, dynamo=True),
}

if __name__ == "__main__":
    command("idioms", NETS, write_torch)
