"""Errors, arrays, device, randomness, results, plugins, artifacts, settings: what every layer stands on."""
