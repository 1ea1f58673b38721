"""From an image to a gradient on that image: a frozen teacher and the coefficients of its noise predictions."""
