//! How calls reach AWS: over TLS by the certificates that this machine trusts, through the proxy of `HTTPS_PROXY`
//! where there is one. Plain `http`, which only a local AWS speaks, needs neither, and so does not wait for the
//! hundreds of files that certificates are.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Chooses by the scheme of each request; certificates are read when the first one needs them.
#[derive(Clone, Debug)]
pub struct Transport {
    plain: SharedHttpClient,
    tls: SharedHttpClient,
}

impl Transport {
    pub fn new() -> Self {
        let tls = Builder::new().build_with_connector_fn(|settings, components| {
            let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
        });
        Self { plain: Builder::new().build_http(), tls }
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
        let Transport { plain, tls } = &self.transport;
        let client = if request.uri().starts_with("http://") { plain } else { tls };
        client.http_connector(&self.settings, &self.components).call(request)
    }
}
