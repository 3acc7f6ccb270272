"""Sources of labelled images, one file each; they know no model."""
