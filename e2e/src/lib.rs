//! Whole-stack tests: the real `cliscale up`, its runners, and clients of its API and terminals. See `tests/`.
