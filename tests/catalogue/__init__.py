"""Tests of the catalogue of shapes."""
