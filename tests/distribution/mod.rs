//! How people get `chatctl`: everything that a release consists of, made of the binary that the tests have.

mod installer;
mod packages;
mod release;
mod stranger;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chatctl");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");
