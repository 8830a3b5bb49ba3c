"""What each task measures: one file a task, one table. Pure: outputs and what is right in, figures out."""
