//! Keeps the SDK from trying again what API Gateway and Lambda refused for their quotas.
//!
//! The SDK would back off for up to 20 s and give up after a few tries, which is right for a quota of thousands and
//! wrong for one of ten a second that several runs share (G1, L8): whoever is unlucky fails, and the quota goes unused
//! meanwhile. The rule in `retry.rs` tries at a steady pace instead, for minutes.

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority};

#[derive(Debug)]
pub struct ThrottlesAreOurs;

impl ClassifyRetry for ThrottlesAreOurs {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(response) if response.status().as_u16() == 429 => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "throttles are ours"
    }

    /// The last word.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
