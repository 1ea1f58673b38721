"""The surfaces that the teacher learns, by kind of thing: `materials.albedo` draws any of them by its name."""
