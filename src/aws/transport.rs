//! How calls reach AWS: over TLS by the certificates that this machine trusts, through the proxy of `HTTPS_PROXY`
//! where there is one. Plain `http`, which only a local AWS speaks, needs neither, and so does not wait for the
//! hundreds of files that certificates are.
//!
//! A connection that fails says where it was to lead. Where nobody has answered from the beginning on, the SDK's eight
//! tries, up to a minute, would only hide a wrong endpoint: then the first seconds decide.

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
        let endpoint = endpoint_of(request.uri());
        let answer = client.http_connector(&self.settings, &self.components).call(request);
        let contact = contact.clone();
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            match answer {
                Ok(answer) => {
                    contact.made.store(true, Ordering::Relaxed);
                    Ok(answer)
                }
                Err(error) => Err(contact.explain(error, endpoint)),
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
    /// `error` with its endpoint; of a kind that is not tried again, once it is no use.
    fn explain(&self, error: ConnectorError, endpoint: String) -> ConnectorError {
        let (is_io, is_timeout) = (error.is_io(), error.is_timeout());
        if !is_io && !is_timeout {
            return error;
        }
        let since = *self.failing_since.get_or_init(Instant::now);
        let source: Box<dyn Error + Send + Sync> = Box::new(Unreached { what: inmost(&error), endpoint });
        if !self.made.load(Ordering::Relaxed) && since.elapsed() >= FIRST_CONTACT {
            ConnectorError::other(source, None)
        } else if is_timeout {
            ConnectorError::timeout(source)
        } else {
            ConnectorError::io(source)
        }
    }
}

/// `connection refused at http://127.0.0.1:1`
#[derive(Debug)]
struct Unreached {
    what: String,
    endpoint: String,
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
