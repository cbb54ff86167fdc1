"""After training: the model, its predictors, prediction and export."""
