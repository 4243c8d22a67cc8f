"""`serct bench`: the thesis' model beside a direct formulation of it, in one process."""
