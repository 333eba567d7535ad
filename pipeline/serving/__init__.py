"""The command ``albeam serve``: a store as a service over HTTP, with a page."""
