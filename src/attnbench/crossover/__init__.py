"""Where one implementation overtakes another along an axis: sampled live at the boundary, in pairs of fresh processes.

Read in this order: ``evidence`` (one place, and when its sign is sure), ``answer`` (what is said of all places),
``search`` (which places are looked at), ``schedule`` (what a visit costs, and what there is time for); ``axes`` (what
can vary) and ``question`` (what is asked); ``visits`` (pair after pair of two implementations), ``envelope`` (who leads
among several), ``measuring`` (from a question to its answer), ``sentences`` (the answer in words).
"""
