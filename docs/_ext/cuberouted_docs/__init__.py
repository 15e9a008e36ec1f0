"""The Sphinx extension of these documents: references made from the program, man pages, anchors.

`commands` and `configuration` make Markdown from click's help texts and from
conf/cuberouted.conf.reference, which `markers` puts into the pages. `links`, `anchors` and
`man_pages` change what Sphinx has read. `extension` connects all of these with Sphinx.
"""

from cuberouted_docs.extension import setup

__all__ = ["setup"]
