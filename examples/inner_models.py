"""Small models of three ideas that live inside an architecture and therefore outside this framework.

Test-time training layers (arXiv 2407.04620), Titans' memory (arXiv 2501.00663) and hallucination-associated neurons
(arXiv 2512.01797), in the scalar or linear form in which they can be checked by hand.

    python examples/inner_models.py
"""

import numpy as np


def ttt_online(w0: float, lr: float, k: float, v: float, steps: int) -> list[float]:
    """A scalar hidden model W updated by one gradient step of (W k - v)^2 a token; W after each."""
    weights, w = [], w0
    for _ in range(steps):
        w -= lr * 2 * (w * k - v) * k
        weights.append(w)
    return weights


def ttt_batch_output(keys: np.ndarray, values: np.ndarray, query: np.ndarray, eta: float = 0.5) -> np.ndarray:
    """One batch gradient step of sum |W k - v|^2 from W = 0; with eta = 1/2 this is linear attention."""
    gradient = -2 * values.T @ keys
    return -eta * gradient @ query


def titans_memory(eta: float, theta: float, alpha: float, k: float, values: list[float]) -> list[float]:
    """Scalar memory with surprise momentum S and forgetting alpha; M after each value."""
    memory, m, s = [], 0.0, 0.0
    for v in values:
        s = eta * s - theta * 2 * (m * k - v) * k
        m = (1 - alpha) * m + s
        memory.append(m)
    return memory


def cett(down: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A layer's output and each neuron's contribution |z_j| |W_down[:, j]| / |W_down z|; can exceed 1."""
    h = down @ z
    return h, np.abs(z) * np.linalg.norm(down, axis=0) / np.linalg.norm(h)


if __name__ == "__main__":
    print("test-time training:", ttt_online(0, 0.25, 1, 2, 3))
    print("Titans, overshooting after the target moved:", titans_memory(0.9, 0.1, 0.05, 1, [2, 2, 2, 0, 0]))
    print("neuron contributions:", cett(np.array([[1.0, 0], [2, 1]]), np.array([0.5, -1]))[1])
