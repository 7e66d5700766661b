"""The public test functions as formulas on vectors, in their usual units and with their usual constants.

Source of all formulas and optima, where nothing else is said: Surjanovic and Bingham, Virtual Library of Simulation
Experiments, https://www.sfu.ca/~ssurjano/optimization.html.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

BRANIN_MIN = 0.3978873577297384  # 10/(8 pi), at (pi, 2.275) among others
CAMEL_MIN = -1.031628453489877  # Newton's method in mpmath from (0.0898, -0.7126)
# The root of 4 x^3 - 32 x + 5 at the left, by Newton's method, and half of x^4 - 16 x^2 + 5 x there.
STYBLINSKI_BEST = -2.903534027771177
STYBLINSKI_MIN = -39.166165703771415
HARTMANN3_MIN = -3.862779787332660
HARTMANN6_MIN = -3.322368011415513

_A3 = np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]])
_P3 = 1e-4 * np.array([[3689.0, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
_A6 = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P6 = 1e-4 * np.array(
    [
        [1312.0, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])


def branin(x: Vector) -> float:
    b, c, t = 5.1 / (4 * np.pi**2), 5 / np.pi, 1 / (8 * np.pi)
    return float((x[1] - b * x[0] ** 2 + c * x[0] - 6) ** 2 + 10 * (1 - t) * np.cos(x[0]) + 10)


def camel(x: Vector) -> float:
    """Six-hump camel."""
    a, b = x[0] ** 2, x[1] ** 2
    return float((4 - 2.1 * a + a * a / 3) * a + x[0] * x[1] + (-4 + 4 * b) * b)


def beale(x: Vector) -> float:
    a, b = x
    return float((1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2)


def hartmann3(x: Vector) -> float:
    return float(-_ALPHA @ np.exp(-np.sum(_A3 * (x - _P3) ** 2, axis=1)))


def hartmann6(x: Vector) -> float:
    return float(-_ALPHA @ np.exp(-np.sum(_A6 * (x - _P6) ** 2, axis=1)))


def rosenbrock(x: Vector) -> float:
    """Minimum 0 at (1, .., 1)."""
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (x[:-1] - 1) ** 2))


def ackley(x: Vector) -> float:
    """Minimum 0 at the origin; written so that it is 0 there in floating point too."""
    slope, waves = 0.2 * np.sqrt(np.mean(x * x)), np.mean(np.cos(2 * np.pi * x))
    return float(-20 * np.expm1(-slope) - np.e * np.expm1(waves - 1))


def levy(x: Vector) -> float:
    """Minimum 0 at (1, .., 1)."""
    w = 1 + (x - 1) / 4
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
    return float(np.sin(np.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2))


def rastrigin(x: Vector) -> float:
    """Minimum 0 at the origin."""
    return float(np.sum(x * x + 10 * (1 - np.cos(2 * np.pi * x))))


def styblinski(x: Vector) -> float:
    """Styblinski-Tang, the mean over the coordinates; minimum STYBLINSKI_MIN at (STYBLINSKI_BEST, ..)."""
    return float(np.mean(x**4 - 16 * x * x + 5 * x) / 2)


def ellipsoid(x: Vector) -> float:
    """Axis-parallel ellipsoid of condition 100 and minimum 0 at the origin (BBOB f2 is the same with 1e6)."""
    return float(10 ** np.linspace(0.0, 2.0, len(x)) @ (x * x))
