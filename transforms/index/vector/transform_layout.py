"""The transforms before a FAISS index in its file: rotations, reductions; see `file_layout`."""

from transforms.index.vector.file_layout import Layout

_MATRICES = ("rrot", "LTra", "Pcam", "Viqm")
_TRANSFORMS = (*_MATRICES, "Viqt", "RmDT", "VNrm", "HRot")


def read_transform(layout: Layout) -> None:
    """Read a trained transform.

    Raises:
        LayoutError: it is another, or its matrix has another size than its widths.
    """
    kind, biased = layout.tag(_TRANSFORMS), False
    matrix = bias = means = None
    if kind == "Pcam":
        for name, form in (("power", "f"), ("epsilon", "f"), ("rotation", "?"), ("bins", "i")):
            layout.fixed(name, form)
        for name in ("means", "eigenvalues", "eigenvectors"):
            layout.array(name, "<f4")
    elif kind == "Viqm":
        layout.fixed("iterations", "i")
        layout.fixed("seed", "i")
    elif kind == "Viqt":
        means = layout.array("means", "<f4")
        layout.fixed("reduction", "?")
        read_transform(layout)
        read_transform(layout)
    elif kind == "RmDT":
        layout.fixed_array("dimensions", "<i4")
    elif kind in ("VNrm", "HRot"):
        layout.fixed("argument", "i")
    if kind in _MATRICES:
        biased = layout.flag("bias")
        matrix, bias = layout.array("matrix", "<f4"), layout.array("bias", "<f4")
    taken, given = layout.fixed("input width", "i"), layout.fixed("output width", "i")
    layout.require(layout.flag("state of training"), "is not trained")
    if matrix is not None and bias is not None:
        layout.require(len(matrix) == taken * given, "has a matrix of another size")
        layout.require(len(bias) == given or not biased, "has a bias of another size")
    layout.require(means is None or len(means) == taken, "has means of another size")
