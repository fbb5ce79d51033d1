"""Speed, judged twice: against a store of baselines while developing, and wheel against wheel before a release.

``signed_rank``   how much slower, from pairs of measurements, with an interval that is exact at any number of them
``sequential``    slower, not slower, or not known: when to look at the pairs, and what may be said at each look
``workload``      what is measured: fresh servers, their answers, their memory
``releases``      the wheel of a release, and ``environments``: one for each of the two wheels, alike in all else
``compare``       two sides, measured in turns until an answer is known; ``command`` is its command line
``baselines``     the developer's store: what each model took on each device, and a warning where it takes longer
"""
