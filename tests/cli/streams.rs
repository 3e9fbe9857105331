//! Where output goes: a terminal, a pipe, or nobody.
