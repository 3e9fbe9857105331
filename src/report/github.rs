//! What GitHub Actions reads: annotations.

use crate::error::Error;
use crate::host::Host;

/// Shows `error` beside the job, when this runs in one.
pub fn annotate(host: &Host, error: &Error) {
    if host.env.get("GITHUB_ACTIONS") == Some("true") {
        let text = error.message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        host.stderr.line(&format!("::error title=chatctl::{text}"));
    }
}
