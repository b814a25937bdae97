"""What has run on a GPU and what was prechecked, kept beside planted code."""
