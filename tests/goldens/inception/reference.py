"""InceptionV3 of the FID in plain NumPy, written from pytorch-fid's `inception.py` and torchvision's, as the golden behind
`tests/evaluate.rs`. Weights follow the formula of `../real_size/README.md`, but for the statistics of norms."""

import json
import struct
import sys

import numpy as np

MASK = (1 << 64) - 1


def uniform(name, count):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / (1 << 24)


def tensor(name, *shape):
    u = uniform(name, int(np.prod(shape)))
    if name.endswith("running_var"):
        v = 0.4 + 0.2 * u
    elif name.endswith("running_mean"):
        v = 0.1 * (2 * u - 1)
    elif len(shape) == 1 and name.endswith(".weight"):
        v = 1 + 0.1 * (2 * u - 1)
    elif name.endswith("bias"):
        v = 0.05 * (2 * u - 1)
    else:
        v = np.sqrt(3 / np.prod(shape[1:])) * (2 * u - 1)
    return v.astype(np.float32).astype(np.float64).reshape(shape)


def windows(x, kernel, stride, padding, fill):
    (kh, kw), (ph, pw) = kernel, padding
    x = np.pad(x, ((0, 0), (ph, ph), (pw, pw)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (kh, kw), (1, 2))[:, ::stride, ::stride]


def conv(name, x, outputs, kernel, stride=1, padding=(0, 0)):
    kernel, padding = np.broadcast_to(kernel, 2), np.broadcast_to(padding, 2)
    weight = tensor(name + ".conv.weight", outputs, x.shape[0], *kernel)
    y = np.tensordot(weight, windows(x, kernel, stride, padding, 0.0), ((1, 2, 3), (0, 3, 4)))
    get = lambda part: tensor(f"{name}.bn.{part}", outputs)[:, None, None]
    y = (y - get("running_mean")) / np.sqrt(get("running_var") + 0.001) * get("weight") + get("bias")
    return np.maximum(y, 0)


def average(x):
    inside = windows(np.ones_like(x), (3, 3), 1, (1, 1), 0.0).sum((3, 4))
    return windows(x, (3, 3), 1, (1, 1), 0.0).sum((3, 4)) / inside


def largest(x, stride, padding):
    return windows(x, (3, 3), stride, (padding, padding), -np.inf).max((3, 4))


def block_a(n, x, pool):
    a = conv(n + ".branch1x1", x, 64, 1)
    b = conv(n + ".branch5x5_2", conv(n + ".branch5x5_1", x, 48, 1), 64, 5, padding=2)
    c = conv(n + ".branch3x3dbl_2", conv(n + ".branch3x3dbl_1", x, 64, 1), 96, 3, padding=1)
    c = conv(n + ".branch3x3dbl_3", c, 96, 3, padding=1)
    return np.concatenate([a, b, c, conv(n + ".branch_pool", average(x), pool, 1)])


def block_b(n, x):
    c = conv(n + ".branch3x3dbl_2", conv(n + ".branch3x3dbl_1", x, 64, 1), 96, 3, padding=1)
    c = conv(n + ".branch3x3dbl_3", c, 96, 3, stride=2)
    return np.concatenate([conv(n + ".branch3x3", x, 384, 3, stride=2), c, largest(x, 2, 0)])


def block_c(n, x, w):
    a = conv(n + ".branch1x1", x, 192, 1)
    b = conv(n + ".branch7x7_2", conv(n + ".branch7x7_1", x, w, 1), w, (1, 7), padding=(0, 3))
    b = conv(n + ".branch7x7_3", b, 192, (7, 1), padding=(3, 0))
    c = conv(n + ".branch7x7dbl_2", conv(n + ".branch7x7dbl_1", x, w, 1), w, (7, 1), padding=(3, 0))
    c = conv(n + ".branch7x7dbl_3", c, w, (1, 7), padding=(0, 3))
    c = conv(n + ".branch7x7dbl_4", c, w, (7, 1), padding=(3, 0))
    c = conv(n + ".branch7x7dbl_5", c, 192, (1, 7), padding=(0, 3))
    return np.concatenate([a, b, c, conv(n + ".branch_pool", average(x), 192, 1)])


def block_d(n, x):
    a = conv(n + ".branch3x3_2", conv(n + ".branch3x3_1", x, 192, 1), 320, 3, stride=2)
    b = conv(n + ".branch7x7x3_2", conv(n + ".branch7x7x3_1", x, 192, 1), 192, (1, 7), padding=(0, 3))
    b = conv(n + ".branch7x7x3_4", conv(n + ".branch7x7x3_3", b, 192, (7, 1), padding=(3, 0)), 192, 3, stride=2)
    return np.concatenate([a, b, largest(x, 2, 0)])


def block_e(n, x, pool):
    a = conv(n + ".branch1x1", x, 320, 1)
    b = conv(n + ".branch3x3_1", x, 384, 1)
    c = conv(n + ".branch3x3dbl_2", conv(n + ".branch3x3dbl_1", x, 448, 1), 384, 3, padding=1)
    parts = [a]
    for name, y in (("3x3_2", b), ("3x3dbl_3", c)):
        parts.append(conv(f"{n}.branch{name}a", y, 384, (1, 3), padding=(0, 1)))
        parts.append(conv(f"{n}.branch{name}b", y, 384, (3, 1), padding=(1, 0)))
    return np.concatenate(parts + [conv(n + ".branch_pool", pool(x), 192, 1)])


def resize(x, side):
    for axis in (1, 2):
        length = x.shape[axis]
        at = np.maximum((np.arange(side) + 0.5) * length / side - 0.5, 0)
        first = np.minimum(at.astype(int), length - 1)
        shape = [1, 1, 1]
        shape[axis] = side
        share = (at - first).reshape(shape)
        x = x.take(first, axis) * (1 - share) + x.take(np.minimum(first + 1, length - 1), axis) * share
    return x


image = (2 * uniform("input.inception.img", 3 * 40 * 52) - 1).astype(np.float32).astype(np.float64).reshape(3, 40, 52)
x = conv("Conv2d_1a_3x3", resize(image, 299), 32, 3, stride=2)
x = conv("Conv2d_2b_3x3", conv("Conv2d_2a_3x3", x, 32, 3), 64, 3, padding=1)
x = conv("Conv2d_4a_3x3", conv("Conv2d_3b_1x1", largest(x, 2, 0), 80, 1), 192, 3)
x = largest(x, 2, 0)
for name, pool in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
    x = block_a(name, x, pool)
x = block_b("Mixed_6a", x)
for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
    x = block_c(name, x, width)
x = block_e("Mixed_7b", block_d("Mixed_7a", x), average)
x = block_e("Mixed_7c", x, lambda x: largest(x, 1, 1))
features = x.mean((1, 2))
logits = tensor("fc.weight", 1008, 2048) @ features + tensor("fc.bias", 1008)
print(features.mean(), features.std(), logits.std(), x.shape)

arrays, at, header = {"features": features, "logits": logits}, 0, {}
for name, array in arrays.items():
    header[name] = {"dtype": "F32", "shape": [array.size], "data_offsets": [at, at + 4 * array.size]}
    at += 4 * array.size
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        file.write(array.astype("<f4").tobytes())
