"""The Debian package, in a clean Debian root: installed, served from, upgraded, removed. Needs root."""
