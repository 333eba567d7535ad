"""The page of a bundle for browsers; see `transforms.bundles.page`."""
