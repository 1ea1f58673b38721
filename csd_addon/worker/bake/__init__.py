"""From the field to texels."""
