"""The demo: gradients beside their closed form, and networks that learn from served gradients."""
