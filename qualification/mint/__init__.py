"""Makers of tiny but real models: trained for seconds on a CPU, exact in what they answer."""
