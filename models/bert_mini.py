"""BERT-mini: 4 layers, 256 wide, 4 heads (Turc et al., Well-Read Students Learn Better, 2019)."""

from __future__ import annotations

import math

import numpy as np
import onnx

from autotune.models.builder import Builder

VOCABULARY, POSITIONS, TYPES = 30_522, 512, 2
LAYERS, WIDTH, HEADS = 4, 256, 4
STD = 0.02


class _Bert:
    def __init__(self, sequence: int, seed: int) -> None:
        self.b = Builder("bert_mini", seed=seed)
        self.sequence = sequence

    def dense(self, x: str, inner: int, outer: int, *, gain: float = 1.0) -> str:
        weight = self.b.normal((inner, outer), math.sqrt(gain / inner))
        return self.b.op("Add", [self.b.op("MatMul", [x, weight]), self.b.constant(np.zeros(outer, np.float32))])

    def norm(self, x: str) -> str:
        scale = self.b.constant(np.ones(WIDTH, np.float32))
        bias = self.b.constant(np.zeros(WIDTH, np.float32))
        return self.b.op("LayerNormalization", [x, scale, bias], axis=-1, epsilon=1e-12)

    def gelu(self, x: str) -> str:
        half = self.b.op("Div", [x, self.b.constant(np.float32(math.sqrt(2)))])
        one = self.b.op("Add", [self.b.op("Erf", [half]), self.b.constant(np.float32(1))])
        return self.b.op("Mul", [self.b.op("Mul", [x, one]), self.b.constant(np.float32(0.5))])

    def embed(self) -> str:
        words = self.b.op("Gather", [self.b.normal((VOCABULARY, WIDTH), STD), "input_ids"])
        kinds = self.b.op("Gather", [self.b.normal((TYPES, WIDTH), STD), "token_type_ids"])
        table = self.b.normal((POSITIONS, WIDTH), STD)
        places = self.b.op("Gather", [table, self.b.constant(np.arange(self.sequence)[None], dtype="int64")])
        return self.norm(self.b.op("Add", [self.b.op("Add", [words, kinds]), places]))

    def mask(self) -> str:
        """0 where a token stands, a large negative number where none does, [batch, 1, 1, sequence]."""
        axes = self.b.constant([1, 2], dtype="int64")
        present = self.b.op("Cast", [self.b.op("Unsqueeze", ["attention_mask", axes])], to=onnx.TensorProto.FLOAT)
        absent = self.b.op("Sub", [self.b.constant(np.float32(1)), present])
        return self.b.op("Mul", [absent, self.b.constant(np.float32(-10_000))])

    def heads(self, x: str, *, keys: bool = False) -> str:
        split = self.b.reshape(self.dense(x, WIDTH, WIDTH), [0, self.sequence, HEADS, WIDTH // HEADS])
        return self.b.op("Transpose", [split], perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])

    def layer(self, x: str, mask: str) -> str:
        scores = self.b.op("MatMul", [self.heads(x), self.heads(x, keys=True)])
        scores = self.b.op("Div", [scores, self.b.constant(np.float32(math.sqrt(WIDTH // HEADS)))])
        weights = self.b.op("Softmax", [self.b.op("Add", [scores, mask])], axis=-1)
        mixed = self.b.op("Transpose", [self.b.op("MatMul", [weights, self.heads(x)])], perm=[0, 2, 1, 3])
        mixed = self.dense(self.b.reshape(mixed, [0, self.sequence, WIDTH]), WIDTH, WIDTH)
        x = self.norm(self.b.op("Add", [mixed, x]))
        inner = self.gelu(self.dense(x, WIDTH, 4 * WIDTH))
        return self.norm(self.b.op("Add", [self.dense(inner, 4 * WIDTH, WIDTH, gain=2.0), x]))


def build(*, sequence: int = 128, seed: int = 0) -> onnx.ModelProto:
    """BERT-mini with its pooler: token ids, mask and types [batch, sequence] -> hidden states and pooled output."""
    net = _Bert(sequence, seed)
    x, mask = net.embed(), net.mask()
    for _ in range(LAYERS):
        x = net.layer(x, mask)
    net.b.op("Identity", [x], name="last_hidden_state")
    first = net.b.op("Gather", [x, net.b.constant(np.int64(0))], axis=1)
    weight = net.b.normal((WIDTH, WIDTH), math.sqrt(1 / WIDTH))
    pooled = net.b.op("Gemm", [first, weight, net.b.constant(np.zeros(WIDTH, np.float32))])
    net.b.op("Tanh", [pooled], name="pooler_output")
    shape = ("batch", sequence)
    kind = onnx.TensorProto.INT64
    return net.b.model(
        {"input_ids": (kind, shape), "attention_mask": (kind, shape), "token_type_ids": (kind, shape)},
        {
            "last_hidden_state": (onnx.TensorProto.FLOAT, ("batch", sequence, WIDTH)),
            "pooler_output": (onnx.TensorProto.FLOAT, ("batch", WIDTH)),
        },
    )
