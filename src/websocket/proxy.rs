//! The way through the proxy of `HTTPS_PROXY`, for those who have no other to the outside.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::TcpStream;
use tower_service::Service;

use super::ConnectError;

/// A connection to the host of a `wss://` URL through the proxy that `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name for
/// it; none where they name none, and none to this machine itself.
pub(super) async fn tunnel(url: &Uri) -> Result<Option<TcpStream>, ConnectError> {
    let host = url.host().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return Ok(None);
    }
    let target = format!("https://{host}:{}", url.port_u16().unwrap_or(443));
    let target: Uri = target.parse().map_err(|e| ConnectError::Unusable(format!("`{target}`: {e}")))?;
    let Some(proxy) = Matcher::from_env().intercept(&target) else { return Ok(None) };
    let mut tunnel = Tunnel::new(proxy.uri().clone(), HttpConnector::new());
    if let Some(auth) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let stream = tunnel.call(target).await.map_err(|e| ConnectError::Unreachable(format!("through the proxy: {e}")))?;
    Ok(Some(stream.into_inner()))
}
