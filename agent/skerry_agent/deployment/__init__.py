"""The updates of one model: performs the effects of its update machine, with the processes that they need."""
