"""From triangles to per-pixel surface points. Geometry is constant during a job, so nothing here is differentiated."""
