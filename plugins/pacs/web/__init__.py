"""The web pages under /pacs/: a Flask application, served to NGINX by `pacs.web.server`."""
