"""The page in a browser: it opens offline, sorts, filters, follows a link, prints, and can be read by everybody."""
