"""What the commands do. ``cli`` holds their names, options and help, and imports these modules when one is used."""
