//! TLS for `wss://`: rustls with ring, trusting what this machine trusts, and errors that say what to do.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_tungstenite::Connector;

use super::ConnectError;

pub(super) const NAME_HINT: &str = "the host of the URL is no name that a certificate can carry";
const ROOTS_HINT: &str = "install the system's CA certificates (Debian: `apt-get install ca-certificates`), or name a \
                          file of them in `SSL_CERT_FILE`";
const PROXY_HINT: &str = "if a proxy opens TLS here, name its CA certificate in `SSL_CERT_FILE`";
const PLAIN_HINT: &str = "does the port speak TLS? if not, the URL begins with `ws://`";
/// How tokio-rustls says it; the error has no type of its own.
const HUNG_UP: &str = "tls handshake eof";
const CLOCK_HINT: &str = "is the clock of this machine right?";

/// One configuration for all connections: reading the roots takes milliseconds, and thousands of clients share them.
pub(super) fn connector() -> Result<Connector, ConnectError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Connector::Rustls(config.clone()));
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
        let what = format!("this machine trusts no certificate authority{why}");
        return Err(ConnectError::Untrusted { what, hint: ROOTS_HINT });
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectError::Untrusted { what: e.to_string(), hint: ROOTS_HINT })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Rustls(CONFIG.get_or_init(|| Arc::new(config)).clone()))
}

/// What `error` says about trust, if it came out of TLS.
pub(super) fn distrust(error: &io::Error) -> Option<ConnectError> {
    if error.to_string() == HUNG_UP {
        return Some(ConnectError::Untrusted { what: "the other side hung up".into(), hint: PLAIN_HINT });
    }
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let hint = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => PROXY_HINT,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => CLOCK_HINT,
        rustls::Error::InvalidMessage(_) => PLAIN_HINT,
        _ => "the host does not prove that it is the host of the URL",
    };
    Some(ConnectError::Untrusted { what: error.to_string(), hint })
}
