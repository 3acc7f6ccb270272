"""What the HTML report is made of: text, geometry of its pictures, templates, one style, one script."""
