"""The creation and removal of snapshots: compare, commit, delete, compact, vacuum."""
