"""A page in the browser that shows what a model, or two side by side, see in images."""
