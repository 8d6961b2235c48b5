"""Sizes of published networks over tokens, time and tables, and how often which batch is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """A network over tokens.

    Args:
        source: where its sizes are published.
        width: of a token.
        heads: of its attention.
        inner: width inside the feed-forward part.
        tokens: numbers of tokens it is used at.
        style: `encoder` (after-norm, GELU), `vision` (pre-norm, one product for all of q, k, v), `decoder` (RMS
            normalisation, rotated positions, gated feed-forward), `step` (one new token beside a cache).
        vocabulary: words that its last layer chooses among; 0: it has none.
    """

    source: str
    width: int
    heads: int
    inner: int
    tokens: tuple[int, ...]
    style: str = "encoder"
    vocabulary: int = 0


_TEXT, _PATCHES = (16, 32, 64, 128, 128, 256, 384, 512), (50, 65, 145, 197, 197, 257)

TRANSFORMERS = (
    Transformer(source="BERT tiny, arXiv 1908.08962", width=128, heads=2, inner=512, tokens=_TEXT, vocabulary=30_522),
    Transformer(source="BERT mini, arXiv 1908.08962", width=256, heads=4, inner=1024, tokens=_TEXT, vocabulary=30_522),
    Transformer(source="BERT small, arXiv 1908.08962", width=512, heads=8, inner=2048, tokens=_TEXT, vocabulary=30_522),
    Transformer(source="MiniLM-L6, arXiv 2002.10957", width=384, heads=12, inner=1536, tokens=_TEXT),
    Transformer(
        source="DistilBERT, arXiv 1910.01108", width=768, heads=12, inner=3072, tokens=_TEXT, vocabulary=30_522
    ),
    Transformer(source="DeiT tiny, arXiv 2012.12877", width=192, heads=3, inner=768, tokens=_PATCHES, style="vision"),
    Transformer(source="DeiT small, arXiv 2012.12877", width=384, heads=6, inner=1536, tokens=_PATCHES, style="vision"),
    Transformer(source="ViT base, arXiv 2010.11929", width=768, heads=12, inner=3072, tokens=(50, 197), style="vision"),
    Transformer(
        source="CLIP text, arXiv 2103.00020", width=512, heads=8, inner=2048, tokens=(16, 32, 77), style="vision"
    ),
    Transformer(
        source="MobileViT-S, arXiv 2110.02178", width=144, heads=4, inner=288, tokens=(64, 256), style="vision"
    ),
    Transformer(source="Swin-T, arXiv 2103.14030", width=96, heads=3, inner=384, tokens=(49,), style="vision"),
    Transformer(source="Swin-T, arXiv 2103.14030", width=192, heads=6, inner=768, tokens=(49,), style="vision"),
    Transformer(
        source="Whisper tiny, arXiv 2212.04356", width=384, heads=6, inner=1536, tokens=(150, 300, 500), style="vision"
    ),
    Transformer(
        source="SmolLM2-135M, arXiv 2502.02737",
        width=576,
        heads=9,
        inner=1536,
        tokens=(16, 64, 128),
        style="decoder",
        vocabulary=49_152,
    ),
    Transformer(
        source="Llama layout, arXiv 2302.13971",
        width=288,
        heads=6,
        inner=768,
        tokens=(32, 128, 256),
        style="decoder",
        vocabulary=32_000,
    ),
    Transformer(
        source="GPT-2, openai.com",
        width=768,
        heads=12,
        inner=3072,
        tokens=(64, 128, 256, 512),
        style="step",
        vocabulary=50_257,
    ),
    Transformer(
        source="SmolLM2-135M, arXiv 2502.02737",
        width=576,
        heads=9,
        inner=1536,
        tokens=(64, 256, 1024),
        style="step",
        vocabulary=49_152,
    ),
)

RECURRENT = (
    ("CRNN, arXiv 1507.05717", "LSTM", 512, 256, (24, 26, 50)),
    ("Deep Speech 2, arXiv 1512.02595", "GRU", 672, 400, (50, 100)),
    ("Sequence to sequence, arXiv 1409.3215", "LSTM", 256, 512, (10, 20, 40)),
    ("Keyword spotting, arXiv 1711.07128", "GRU", 40, 154, (25, 49, 98)),
    ("Voice activity", "LSTM", 128, 128, (1, 4, 16)),
    ("Text classification", "LSTM", 100, 128, (32, 64, 128)),
    ("Forecasting, arXiv 1704.04110", "LSTM", 40, 40, (24, 72, 168)),
)
"""Source, cell, width of a step, hidden units, numbers of steps."""

TEMPORAL = (
    ("wav2vec 2.0 feature encoder, arXiv 2006.11477", 512, (2, 3, 3), 2, (400, 800, 1600)),
    ("TCN, arXiv 1803.01271", 64, (3, 5, 7), 1, (100, 200, 400)),
    ("TCN, arXiv 1803.01271", 128, (3, 5), 1, (100, 200, 400)),
    ("Conv-TasNet, arXiv 1809.07454", 256, (3,), 1, (200, 400, 800)),
    ("QuartzNet, arXiv 1910.10261", 256, (33, 39, 51), 1, (100, 200, 400)),
)
"""Source, channels, windows, stride, lengths."""

MLPS = (
    ("DLRM bottom, arXiv 1906.00091", (13, 512, 256, 64)),
    ("DLRM top, arXiv 1906.00091", (367, 512, 256, 1)),
    ("Wide & Deep, arXiv 1606.07792", (1024, 512, 256, 1)),
    ("Two towers", (256, 1024, 512, 128)),
    ("NeRF, arXiv 2003.08934", (63, 256, 256, 256, 4)),
    ("MLP policy", (64, 256, 256, 8)),
)
BATCHES = (*[1] * 12, 2, 4, 8)
ROWS = (1, 1, 16, 64, 256, 1024)
"""Rows of a table, or rays, that a fully connected network takes at once."""
