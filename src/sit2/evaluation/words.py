"""Numbers in words: nothing is rounded to what it is not.

A p-value is never 0, 99.996 % is never 100 %, and a difference that exists is never 0.0.
"""

from __future__ import annotations


def percent(share: float) -> str:
    """Return a share in [0, 1] with one decimal: "83.1 %", "> 99.9 %", "< 0.1 %"."""
    text = f"{100 * share:.1f}"
    if text == "100.0" and share < 1:
        return "> 99.9 %"
    if text == "0.0" and share > 0:
        return "< 0.1 %"
    return text + " %"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points: "1.3", "−0.4", "0.02"; a true minus, no plus."""
    text = f"{100 * difference:.1f}"
    if float(text) == 0:
        text = f"{100 * difference:.1g}" if abs(difference) > 1e-9 else "0.0"  # below: rounding of a true 0
    return text.replace("-", "−")


def p_value(p: float) -> str:
    """Return "p = 0.013", "p < 0.001", "p = 1"; below 0.05 it never reads 0.050, below 1 never 1."""
    if p < 0.001:
        return "p < 0.001"
    if p == 1:
        return "p = 1"
    text = f"{p:.3f}"
    if text == "1.000":
        return "p > 0.999"
    if text == "0.050" and p < 0.05:
        return "p < 0.05"
    return "p = " + text


def ratio(value: float) -> str:
    """Return a number in [0, 1] with three decimals, such as an AUROC: "0.957", "> 0.999", "1.000"."""
    text = f"{value:.3f}"
    if text == "1.000" and value < 1:
        return "> 0.999"
    if text == "0.000" and value > 0:
        return "< 0.001"
    return text
