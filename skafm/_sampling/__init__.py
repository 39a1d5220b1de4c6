"""Gibbs sampling of a factorization machine: torch, without scikit-learn."""
