"""Published traces of GPU clusters, and tables of one's own, as attempts."""
