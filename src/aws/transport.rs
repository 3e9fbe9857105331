//! How calls reach AWS: over TLS by the certificates that this machine trusts, through the proxy of `HTTPS_PROXY`
//! where there is one. Plain `http`, which only a local AWS speaks, needs neither, and so does not wait for the
//! hundreds of files that certificates are.
//!
//! A connection that fails says where it was to lead. Where nobody has answered from the beginning on, the SDK's eight
//! tries, up to a minute, would only hide a wrong endpoint: then it is tried here, a few times a second, and the first
//! seconds decide.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::time::Instant;

/// How long connections may fail, as long as none has ever been made, before a failure is final.
const FIRST_CONTACT: Duration = Duration::from_secs(3);

/// Between two tries of a first contact. The SDK's own pauses double, so that bad luck makes them longer than all tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Chooses by the scheme of each request; certificates are read when the first one needs them.
#[derive(Clone, Debug)]
pub struct Transport {
    plain: SharedHttpClient,
    tls: SharedHttpClient,
    contact: Arc<Contact>,
}

impl Transport {
    pub fn new() -> Self {
        let tls = Builder::new().build_with_connector_fn(|settings, components| {
            let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
        });
        Self { plain: Builder::new().build_http(), tls, contact: Arc::default() }
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(ByScheme {
            transport: self.clone(),
            settings: settings.clone(),
            components: components.clone(),
        })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.tls.connector_metadata()
    }
}

#[derive(Debug)]
struct ByScheme {
    transport: Transport,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for ByScheme {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Transport { plain, tls, contact } = &self.transport;
        let client = if request.uri().starts_with("http://") { plain } else { tls };
        let client = client.http_connector(&self.settings, &self.components);
        let contact = contact.clone();
        HttpConnectorFuture::new(async move {
            let endpoint = endpoint_of(request.uri());
            let mut request = request;
            loop {
                let again = request.try_clone();
                let error = match client.call(request).await {
                    Ok(answer) => {
                        contact.made.store(true, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                request = match again {
                    Some(again) if contact.may_still_come(&error) => again,
                    _ => return Err(contact.explain(error, endpoint)),
                };
                tokio::time::sleep(PAUSE).await;
            }
        })
    }
}

/// Whether anybody has ever answered this run.
#[derive(Debug, Default)]
struct Contact {
    made: AtomicBool,
    /// When the first connection failed.
    failing_since: OnceLock<Instant>,
}

impl Contact {
    /// Whether `error` is one of a first contact that is still worth a try.
    fn may_still_come(&self, error: &ConnectorError) -> bool {
        if !unreached(error) || self.made.load(Ordering::Relaxed) {
            return false;
        }
        self.failing_since.get_or_init(Instant::now).elapsed() < FIRST_CONTACT
    }

    /// `error` with its endpoint; of a kind that is not tried again where nobody has ever answered.
    fn explain(&self, error: ConnectorError, endpoint: String) -> ConnectorError {
        if !unreached(&error) {
            return error;
        }
        let source: Box<dyn Error + Send + Sync> = Box::new(Unreached { what: inmost(&error), endpoint });
        if !self.made.load(Ordering::Relaxed) {
            ConnectorError::other(source, None)
        } else if error.is_timeout() {
            ConnectorError::timeout(source)
        } else {
            ConnectorError::io(source)
        }
    }
}

fn unreached(error: &ConnectorError) -> bool {
    error.is_io() || error.is_timeout()
}

/// `connection refused at http://127.0.0.1:1`
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) what: String,
    pub(super) endpoint: String,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.endpoint)
    }
}

impl Error for Unreached {}

/// The deepest cause, without the number that the operating system has for it.
fn inmost(error: &ConnectorError) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        _ => cause.to_string(),
    }
}

/// Scheme, host and port of `uri`.
fn endpoint_of(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("https", uri));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}
