"""The studio: scenes of grocery products from a seed, their photographs by sphere tracing, and captions for them.

Units everywhere: a product is about 1 long or high; y is up, +z is towards the camera, the floor is y = 0; colours are
given as sRGB in 0..1 and shaded as linear light; angles are radians.
"""
