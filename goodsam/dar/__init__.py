"""Distortion-aware rectification: from what the experts say of views to the ensemble on the panorama."""
