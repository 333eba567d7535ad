"""Bundles: a store with its model as files that are searched without albeam."""
