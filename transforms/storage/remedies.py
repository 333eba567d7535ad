"""Remedies for a damaged file of a store."""

NEW_STORE = "Embed again into a new store"
EMBED_AGAIN = "Restore it, or embed again into a new store"
ROLL_BACK = "Restore it from a backup, or go back to an earlier snapshot with albeam rollback"
NO_RESUME = "Run again with --no-resume"
BUILD_INDEX = "Restore it, or build the index again with albeam index STORE"
BUILD_LEXICAL = f"{BUILD_INDEX} --lexical auto"
