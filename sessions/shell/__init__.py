"""Live shells: the text sent to them, the reports read from them, their pipes and their processes."""
