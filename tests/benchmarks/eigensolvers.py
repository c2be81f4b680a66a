"""Leading eigenvectors of a normalised angular affinity: time and residual by solver.

    PYTHONPATH=workflow python tests/benchmarks/eigensolvers.py [N] [k] [solver ...]

Input: planted clusters (α = 0.2, mean squared cosine to the centre 0.5), N tokens, k eigenvectors. Times are CPU seconds of one run on
one core; the subspace error is the sine of the largest angle to the span of LAPACK's vectors, where both have run.
"""

import sys
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh, subspace_angles
from scipy.sparse.linalg import eigsh, lobpcg
from threadpoolctl import threadpool_limits

Matrix = NDArray[np.float64]


def planted_affinity(n: int, seed: int = 0) -> Matrix:
    """Normalised angular affinity of planted clusters."""
    rng = np.random.default_rng(seed)
    p = np.arange(1, 20001) ** -1.2
    quantum = np.unique(rng.choice(len(p), n, p=p / p.sum()), return_inverse=True)[1]
    centres, noise = rng.standard_normal((quantum.max() + 1, 1024)), rng.standard_normal((n, 1024))
    x = (centres[quantum] + noise).astype(np.float32)
    x /= np.linalg.norm(x, axis=1)[:, None]
    matrix = 1 - np.arccos(np.clip(x @ x.T, -1, 1)).astype(np.float64) / np.pi
    np.fill_diagonal(matrix, 0)
    matrix = (matrix + matrix.T) / 2
    root = np.sqrt(matrix.sum(axis=1))
    matrix /= root[:, None]
    matrix /= root[None, :]
    return matrix


def solve(name: str, matrix: Matrix, k: int) -> tuple[Matrix, Matrix]:
    """Values and vectors, in any order."""
    n = len(matrix)
    start = np.random.default_rng(1).standard_normal((n, k))
    if name == "LAPACK evr, subset":
        return eigh(matrix.copy(), subset_by_index=[n - k, n - 1], driver="evr", overwrite_a=True, check_finite=False)
    if name == "LAPACK evx, subset":
        return eigh(matrix.copy(), subset_by_index=[n - k, n - 1], driver="evx", overwrite_a=True, check_finite=False)
    if name == "LAPACK evd, all":
        values, vectors = eigh(matrix.copy(), driver="evd", overwrite_a=True, check_finite=False)
        return values[-k:], vectors[:, -k:]
    if name == "torch.linalg.eigh, all":
        v, w = torch.linalg.eigh(torch.from_numpy(matrix))
        return v.numpy()[-k:], w.numpy()[:, -k:]
    if name == "Lanczos (ARPACK), 1e-8":
        return eigsh(matrix, k, which="LA", v0=start[:, 0], tol=1e-8)
    if name == "LOBPCG, 1e-6":
        return lobpcg(matrix, start, largest=True, tol=1e-6, maxiter=200)
    raise ValueError(name)


SOLVERS = (
    "LAPACK evr, subset",
    "LAPACK evx, subset",
    "LAPACK evd, all",
    "torch.linalg.eigh, all",
    "Lanczos (ARPACK), 1e-8",
    "LOBPCG, 1e-6",
)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    k = int(sys.argv[2]) if len(sys.argv) > 2 else 330
    names = sys.argv[3:] or SOLVERS
    torch.set_num_threads(1)
    matrix, reference = planted_affinity(n), None
    print(f"N = {n}, k = {k}, {matrix.nbytes / 1e9:.1f} GB\n")
    print("| solver | CPU seconds | largest residual | subspace error |\n|---|---|---|---|")
    for name in names:
        with threadpool_limits(1):
            began = time.process_time()
            values, vectors = solve(name, matrix, k)
            seconds = time.process_time() - began
            residual = np.linalg.norm(matrix @ vectors - vectors * values, axis=0).max()
            if reference is None:
                reference, error = vectors, "reference"
            else:
                error = f"{np.sin(subspace_angles(reference, vectors).max()):.0e}"
        print(f"| {name} | {seconds:.1f} | {residual:.0e} | {error} |", flush=True)


if __name__ == "__main__":
    main()
