"""What cameras see of the surface, as constant data: nothing here is differentiated."""
