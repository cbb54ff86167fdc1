"""One training as a job, and what runs many."""
