"""Sharpness-aware minimization, and measures of sharpness, in JAX.

`sam_overparam.sam` and `sam_overparam.sharpness`; docs/library.md shows both.
This is the head of the installed package. Its folder is not called
`sam_overparam`, or it would hide the installed one from who starts Python here.
"""
