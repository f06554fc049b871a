"""The page at `/`: static files, served from the package, that need nothing from outside."""
