//! Finds and checks the files that are a model.
