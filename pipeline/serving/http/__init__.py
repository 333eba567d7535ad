"""The service over HTTP: routes, rights, limits, errors, metrics and logs."""
