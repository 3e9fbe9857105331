//! Signs a URL with Signature Version 4, for an API whose `$connect` asks for IAM.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sign_request,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;

use super::{ConnectError, with_query, without_query};

/// The name under which API Gateway checks signatures.
/// Whoever connects or posts signs for this service, not for API Gateway itself (R7).
const SERVICE: &str = "execute-api";
/// A signed URL is used at once; a minute allows for a slow connection.
const LIFETIME: Duration = Duration::from_secs(60);

pub(super) async fn sign(
    url: &str,
    credentials: &SharedCredentialsProvider,
    region: &str,
) -> Result<String, ConnectError> {
    let credentials = credentials
        .provide_credentials()
        .await
        .map_err(|e| ConnectError::Unusable(format!("there are no AWS credentials to sign with: {e}")))?;
    sign_at(url, &credentials.into(), region, SystemTime::now())
}

fn sign_at(url: &str, identity: &Identity, region: &str, now: SystemTime) -> Result<String, ConnectError> {
    let unusable =
        |e: &dyn std::error::Error| ConnectError::Unusable(format!("`{}` cannot be signed: {e}", without_query(url)));
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFETIME);
    let params = SigningParams::builder()
        .identity(identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|e| unusable(&e))?
        .into();
    let request =
        SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[])).map_err(|e| unusable(&e))?;
    let (signed, _) = sign_request(request, &params).map_err(|e| unusable(&e))?.into_parts();
    Ok(with_query(url, signed.params().iter().map(|(name, value)| (*name, value.as_ref()))))
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    #[test]
    fn a_signed_url_carries_what_api_gateway_checks() {
        let identity = Credentials::new("AKIDEXAMPLE", "secret", Some("to/ken=".into()), None, "test").into();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let url = sign_at("wss://abc.execute-api.eu-west-1.amazonaws.com/prod", &identity, "eu-west-1", now).unwrap();
        assert!(url.starts_with("wss://abc.execute-api.eu-west-1.amazonaws.com/prod?"), "{url}");
        for part in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Feu-west-1%2Fexecute-api%2Faws4_request",
            "X-Amz-Date=20150830T123600Z",
            "X-Amz-Expires=60",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Security-Token=to%2Fken%3D",
            "X-Amz-Signature=",
        ] {
            assert!(url.contains(part), "{part} is not in {url}");
        }
    }
}
