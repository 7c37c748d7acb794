"""The readers of hf_readers.py on words worked out by hand."""

import numpy as np
import pytest

import hf_readers as hf
import safetensors_reader as st
from safetensors_reader import FormatError

TYPES = {"<i4": "I32", "<f4": "F32", "<f2": "F16", "|i1": "I8", "|u1": "U8"}


def stored(array, dtype=None):
    array = np.ascontiguousarray(array)
    return st.Stored(
        dtype or TYPES[array.dtype.str], array.shape, array.tobytes(), "f"
    )


def words(*values):
    return np.array(values, "<u4").view("<i4")


def test_four_bit_words():
    assert hf.bit_stream(words([0x76543210]), 4).tolist() == [[*range(8)]]


def test_three_bit_words_straddle():
    # Values 10 and 21 of 32 lie across words: 7 and 5, all others 0.
    bits = (7 << 30) | (5 << 63)
    stream = [bits >> 32 * i & 0xFFFFFFFF for i in range(3)]
    values = hf.bit_stream(words(stream), 3)[0]
    assert values[10] == 7 and values[21] == 5
    assert np.count_nonzero(values) == 2


@pytest.mark.parametrize(
    "version,bits,word",
    [
        (1, 4, 0x77777777),
        (1, 8, 0x7F7F7F7F),
        (1, 2, 0x55555555),
        (2, 4, 0x88888888),
        (2, 8, 0x80808080),
        (2, 2, 0xAAAAAAAA),
    ],
)
def test_gptq_symmetric_zero_words(version, bits, word):
    rows = columns = 32
    u = 1 << (bits - 1)  # the middle: weight 0 with the middle as zero
    packed = sum(u << bits * i for i in range(32 // bits))
    parts = {
        "qweight": stored(np.full((columns * bits // 32, rows), packed, "<u4")
                          .view("<i4")),
        "qzeros": stored(np.full((1, rows * bits // 32), word, "<u4")
                         .view("<i4")),
        "scales": stored(np.ones((1, rows), "<f2")),
        "g_idx": stored(np.zeros(columns, "<i4")),
    }
    assert not hf.gptq_weight(parts, bits, -1, version, "m").any()
    with pytest.raises(FormatError):
        hf.gptq_weight(parts | {"g_idx": stored(np.ones(columns, "<i4"))},
                       bits, -1, version, "m")


def test_gptq_act_order_and_zero_points():
    rows, columns = 32, 64
    parts = {
        "qweight": stored(np.full((8, rows), 0x99999999, "<u4").view("<i4")),
        "qzeros": stored(np.full((2, 4), 0x77777777, "<u4").view("<i4")),
        "scales": stored(np.repeat([[1.0], [2.0]], rows, 1).astype("<f2")),
        "g_idx": stored(np.arange(columns, dtype="<i4") % 2),
    }
    weights = hf.gptq_weight(parts, 4, 32, 1, "m", act_order=True)
    assert (weights == 1 + np.arange(columns) % 2).all()
    with pytest.raises(FormatError):
        hf.gptq_weight(parts, 4, 32, 1, "m")
    uneven = stored(np.minimum(np.arange(columns), 1).astype("<i4"))
    with pytest.raises(FormatError):
        hf.gptq_weight(parts | {"g_idx": uneven}, 4, 32, 1, "m", True)
    wraps = stored(np.full((2, 4), 0x77777F77, "<u4").view("<i4"))
    parts |= {"g_idx": stored(np.arange(columns, dtype="<i4") // 32)}
    hf.gptq_weight(parts | {"qzeros": wraps}, 4, 32, 2, "m")
    with pytest.raises(FormatError):
        hf.gptq_weight(parts | {"qzeros": wraps}, 4, 32, 1, "m")


def test_awq_order():
    assert hf.awq_columns(words([0x75316420])).tolist() == [[*range(8)]]


def test_bitsandbytes_map():
    values = hf.dynamic_map()
    assert len(values) == 256
    assert values[127] == 0 and values[255] == 1
    np.testing.assert_allclose(
        values[[0, 126, 128, 254]],
        [-0.99296875, -5.5e-7, 5.5e-7, 0.99296875],
        rtol=1e-6,
    )


def test_bitsandbytes_nibbles():
    state = (
        '{"quant_type": "nf4", "blocksize": 2, "dtype": "float16", '
        '"shape": [1, 2]}'
    )
    parts = {
        "weight": stored(np.array([[0xF7]], "u1")),
        "weight.absmax": stored(np.array([3], "<f4")),
        "weight.quant_map": stored(np.array(hf.NF4, "<f4")),
        "weight.quant_state.bitsandbytes__nf4": stored(
            np.frombuffer(state.encode(), "u1")
        ),
    }
    settings = {
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": False,
    }
    assert hf.bnb4_weight(parts, settings, "m").tolist() == [[3, 0]]
