"""Tune a support vector machine, in memory: an objective, a space, one call."""

from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import hpo_fast as hpo

X, y = load_wine(return_X_y=True)
space = hpo.Space(
    C=hpo.Float(1e-3, 1e3, log=True),
    kernel=hpo.Categorical(["linear", "rbf"]),
    gamma=hpo.Float(1e-4, 1e1, log=True).when(kernel="rbf"),  # exists only beside kernel="rbf"
)


def objective(trial):
    model = make_pipeline(StandardScaler(), SVC(**trial.params))
    return 1.0 - cross_val_score(model, X, y, cv=5).mean()


study = hpo.minimize(objective, space, n_trials=30, seed=0)
print(f"error {study.best_trial.value:.4f} with {study.best_trial.params}")
