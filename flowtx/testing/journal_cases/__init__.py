"""The cases of the conformance kit for journals, by what they look at."""
