//! Faults that need more than a case can say.
