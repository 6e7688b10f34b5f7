"""The API described for machines, in OpenAPI 3.1, and a page that shows the description."""
