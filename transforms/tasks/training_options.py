"""The choices of trainings of heads, without heavy imports."""

#: Ways in which training texts are changed.
AUGMENTATIONS = ("swap", "delete", "case", "synonym")
#: The file of a head's folder that says for which task it was trained, and how it reads texts.
HEAD = "head.json"
