//! The plots of `docs/performance.md`.

use std::path::Path;
use std::time::Duration;

use crate::Figures;

pub fn write(_folder: &Path, _figures: &[(&str, Duration, Figures)]) {}
