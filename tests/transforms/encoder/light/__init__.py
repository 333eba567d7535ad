"""Tests of the encoder in numpy."""
