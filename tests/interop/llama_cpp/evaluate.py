"""Loads GGUF files in llama.cpp, and compares their predictions.

The evaluation tokens are cut into windows of the model's context; each is read
from an empty cache, with nothing added. A file's divergence from a base file is
the mean over all positions of

    KL(base || file) = sum_v p_base(v) (ln p_base(v) - ln p(v))

Standard errors are those of the windows' means: positions of one window are not
independent. Two files read the same windows, so that their difference is known
better than either.
"""

import contextlib
import ctypes
import dataclasses
import math
import os

import llama_cpp
import numpy as np


@contextlib.contextmanager
def quiet():
    """llama.cpp writes its log to the process' standard error."""
    keep = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)


def load(path, context):
    with quiet():
        return llama_cpp.Llama(
            str(path),
            n_ctx=context,
            n_batch=context,
            n_threads=1,  # more only wait for each other
            logits_all=True,
            type_k=llama_cpp.GGML_TYPE_F32,
            type_v=llama_cpp.GGML_TYPE_F32,
            verbose=False,
        )


def continuation(model, prompt, count):
    """The greedy continuation of some tokens."""
    model.reset()
    tokens = []
    for token in model.generate(list(prompt), temp=0.0, top_k=1):
        tokens.append(token)
        if len(tokens) == count:
            return tokens


def log_probabilities(model, window):
    model.reset()
    model.eval([int(token) for token in window])
    logits = model.scores[: len(window)].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@dataclasses.dataclass
class Figures:
    means: np.ndarray  # divergence per window, in nats per position
    perplexity: float

    @property
    def divergence(self):
        return float(self.means.mean())

    @property
    def error(self):
        return standard_error(self.means)


def standard_error(means):
    return float(np.std(means, ddof=1) / math.sqrt(len(means)))


def predictions(path, windows):
    """Log-probabilities of every window, in single precision to save memory."""
    model = load(path, windows.shape[1])
    found = [log_probabilities(model, w).astype(np.float32) for w in windows]
    model.close()
    return found


def compare(path, windows, base):
    """Figures of a file; `base` are the predictions of the base file."""
    means, losses = [], []
    model = load(path, windows.shape[1])
    for window, expected in zip(windows, base):
        expected = expected.astype(np.float64)
        found = log_probabilities(model, window)
        divergences = (np.exp(expected) * (expected - found)).sum(axis=1)
        means.append(divergences.mean())
        losses.append(-found[np.arange(len(window) - 1), window[1:]].mean())
    model.close()
    return Figures(
        means=np.array(means),
        perplexity=math.exp(float(np.mean(losses))),
    )


def importance_array(means):
    """Means by name as the quantizer takes them; ends with an empty entry."""
    array = (llama_cpp.llama_model_imatrix_data * (len(means) + 1))()
    for entry, (name, values) in zip(array, means.items()):
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = len(values)
    return array


def quantize(source, target, file_type, importance=None):
    """llama.cpp's own quantizer; returns whether it took the model."""
    name = "LLAMA_FTYPE_MOSTLY_" + file_type
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, name)
    parameters.nthread = 2
    array = importance_array(importance) if importance else None
    if array is not None:
        parameters.imatrix = array
    with quiet():
        code = llama_cpp.llama_model_quantize(
            str(source).encode(), str(target).encode(), parameters
        )
    return code == 0
