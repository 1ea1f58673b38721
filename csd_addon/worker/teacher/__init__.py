"""What judges images: a diffusion model, its words and its memory."""
