"""What a run says, as one page that people look at: run folder → data → page, figures, tables."""
