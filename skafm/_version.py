"""The version, which the estimators write into what is stored."""

__version__ = "0.1.0"
