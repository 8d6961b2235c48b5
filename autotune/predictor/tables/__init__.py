"""Predictors for tables of operators and models that others measured, on devices that are not here."""
