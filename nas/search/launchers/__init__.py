"""Ways to get workers onto machines: processes here, jobs of a Slurm cluster, actors of a Ray cluster.

`base` says what a launcher does, `settings` what `launcher:` of a study may say; each engine has one file and is
imported when it is asked for.
"""
