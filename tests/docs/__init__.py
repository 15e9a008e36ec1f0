"""The HTML pages and man pages, built and looked at. `make docs` runs these tests."""
