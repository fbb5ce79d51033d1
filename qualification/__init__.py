"""The examiner: declares, runs and judges what a release of the tool must show."""
