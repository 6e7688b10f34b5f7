"""The operations of DTM's protocol: typed request in, outcome out, one function each (spec 2.4).

The law of this package: an operation decides by the stored row alone, stores nothing of a request it refuses, and knows
no transport. Errors that DTM words are worded as DTM does; all others in the sender's terms, never in a database's.
"""
