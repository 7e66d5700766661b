"""Drive a study by hand: what is known already, batches of pending trials, a file that outlives the process."""

import os
import tempfile

import hpo_fast as hpo

space = hpo.Space(temperature=hpo.Float(20.0, 90.0), minutes=hpo.Int(1, 60), catalyst=hpo.Categorical(["A", "B"]))


def yield_of(temperature, minutes, catalyst):
    """Stands for an experiment that somebody else runs."""
    best = 65.0 if catalyst == "A" else 50.0
    return 100.0 - (temperature - best) ** 2 / 20.0 - (minutes - 35) ** 2 / 30.0 - 5.0 * (catalyst == "A")


path = os.path.join(tempfile.mkdtemp(), "lab.db")
study = hpo.Study(space, direction="maximize", storage=path, seed=0)
study.add_trial({"temperature": 40.0, "minutes": 10, "catalyst": "A"}, 42.5)  # measured last year
study.enqueue({"temperature": 60.0, "minutes": 30, "catalyst": "B"})  # to be tried first

for _ in range(6):
    batch = study.ask(4)  # four experiments at once: each differs from those that are pending
    for trial in batch:
        study.tell(trial, yield_of(**trial.params))

study = hpo.Study.load(path)  # space, strategy and seed come from the file
print(f"{len(study.trials)} trials, best yield {study.best_trial.value:.1f} with {study.best_trial.params}")
