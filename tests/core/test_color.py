"""sRGB both ways and CIELAB against published values."""

from __future__ import annotations

import numpy as np

from csd_addon.core.color import decode_srgb, encode_srgb, srgb_to_lab


def test_round_trips_over_a_wide_range() -> None:
    values = np.linspace(-1, 3, 10_000)
    for there, back in ((encode_srgb, decode_srgb), (decode_srgb, encode_srgb)):
        error = np.abs(back(there(values)) - values).max()
        print(f"{there.__name__} and back: {error:.1e}, tolerance 1e-6")
        # The published constants leave a step of 1e-7 where the two branches meet.
        assert error < 1e-6


def test_known_values() -> None:
    assert abs(encode_srgb(np.array(0.5)) - 0.735357) < 1e-6
    assert abs(decode_srgb(np.array(0.5)) - 0.214041) < 1e-6
    assert np.allclose(encode_srgb(np.array([0.0, 1.0])), [0, 1], atol=1e-7)


def test_eight_bit_round_trip_is_exact() -> None:
    codes = np.arange(256)
    assert (np.round(encode_srgb(decode_srgb(codes / 255)) * 255) == codes).all()


def test_lab_of_primaries() -> None:
    lab = srgb_to_lab(np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    print(f"largest difference {np.abs(lab - expected).max():.3f}, tolerance 0.05")
    assert np.abs(lab - expected).max() < 0.05
