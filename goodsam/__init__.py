"""GoodSAM: from a folder of unlabelled 360-degree panoramas to a small model that labels their every pixel."""

__version__ = "0.1.0"
