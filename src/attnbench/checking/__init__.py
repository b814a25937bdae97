"""Agreement checked in processes of their own: a kernel that crashes or hangs is a row, and the rest goes on.

The parent's side, in reading order: ``progress`` (how far it is), ``ends`` (when its budget ends, and what fits into
it), ``lost`` (what it means that no answer came), ``processes`` (how many work at once), ``features`` (``attnbench
check``), ``judged_outside`` (judged again where the kernel is not), ``declaring`` (which arithmetic explains a
disagreement), ``examining`` (what kind of fault it is), ``again`` (the line that shows it again), ``onnx`` and
``semantics``. The worker's side: ``operations`` and ``declare_operation``.
"""
