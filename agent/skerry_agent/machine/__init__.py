"""The update machine of one model: its transition table, events, effects and journal record. Pure."""
