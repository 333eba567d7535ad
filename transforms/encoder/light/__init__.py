"""The forward pass of ALBERT and BERT in numpy, for the few texts of a search."""
