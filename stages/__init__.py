"""Who speaks: one folder per stage of the pipeline, and the life of a worker and of a session in it.

Every stage folder has one shape: `stage.py` (bus side), `providers/` where there are vendors, all other files pure.
Stages never import stages: they meet in the events of `schemas.events`.
"""
