"""Tools for the documentation: generate the reference pages and check every page."""
