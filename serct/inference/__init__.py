"""From audio to probabilities: the predictor, exported models, voice activity, large folders."""
