"""Tests of what is asked from Python in the words of the command line."""
