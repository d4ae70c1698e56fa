"""The files of the page at `/docs`, in `console/docs`: name -> media type."""

PAGE = "index.html"
FILES = {
    PAGE: "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
