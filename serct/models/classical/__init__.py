"""Features and scikit-learn's estimators, and what their models share."""
