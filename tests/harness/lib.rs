//! What the whole-system tests share: starting real programs on port 0 and asking them.
