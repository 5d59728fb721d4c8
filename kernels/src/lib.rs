//! One folder per operation: the door, the scalar truth, the fast twins.
