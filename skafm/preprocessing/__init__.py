"""Encoders that turn tables into the one-hot features of factorization machines."""

from skafm.preprocessing._table_encoder import TableEncoder

__all__ = ["TableEncoder"]

TableEncoder.__module__ = __name__  # pickles and documentation name the public module
