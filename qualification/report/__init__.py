"""What a bundle tells people and programs: each file here is a pure function of the plan, the journal and the records."""
