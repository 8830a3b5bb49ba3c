"""The kinds of source, one file each; every one ends in a TFLite model, the waist of a build."""
