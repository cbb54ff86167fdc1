"""What happened, for people to look at; reads only run folders and records."""
