"""What two runs are judged by: the ratio to the anchor that was measured beside every block, or raw times.

``basis`` chooses for two rows of one cell, and names what makes their anchors unlike; ``said`` tells people by what the
verdicts of a comparison were judged, and what the anchor itself did between the runs.
"""
