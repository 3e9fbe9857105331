//! Calls to services whose SDK would take longer to compile than what is asked of them deserves: signed by hand.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use chatctl::aws::identity::partition_of;

use crate::ledger::Refusal;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call before it is signed.
pub struct Call<'a> {
    /// What the service is called in hosts and in signatures.
    pub service: &'a str,
    pub method: &'a str,
    /// Where it is, if not at its own host.
    pub at: Option<String>,
    /// With a query, if there is one.
    pub path: String,
    pub content_type: &'a str,
    pub body: String,
}

impl Call<'_> {
    /// The body of the answer.
    pub async fn send(&self, sdk: &SdkConfig) -> Result<String, Refusal> {
        let url = format!("{}{}", self.at.clone().unwrap_or_else(|| base(sdk, self.service)), self.path);
        let answer = tokio::time::timeout(PATIENCE, self.exchange(sdk, &url)).await;
        let answer = match answer {
            Ok(answer) => answer.map_err(|error| unanswered(&error.to_string()))?,
            Err(_) => return Err(unanswered(&format!("nothing within {PATIENCE:?}"))),
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let header = |name: &str| headers.get(name).map(str::to_owned);
        let body =
            ByteStream::new(answer.into_body()).collect().await.map_err(|error| unanswered(&error.to_string()))?;
        let body = String::from_utf8_lossy(&body.into_bytes()).into_owned();
        if status.is_success() {
            return Ok(body);
        }
        let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let code = header("x-amzn-errortype").or_else(|| text_of(&body, "Code"));
        let message = json["message"].as_str().map(str::to_owned).or_else(|| text_of(&body, "Message"));
        Err(Refusal {
            code: code.unwrap_or_else(|| format!("HTTP {}", status.as_u16())),
            message: message.unwrap_or_else(|| body.chars().take(200).collect()),
            request_id: header("x-amzn-requestid").or_else(|| header("x-amz-request-id")),
        })
    }

    async fn exchange(&self, sdk: &SdkConfig, url: &str) -> Result<HttpResponse, Box<dyn Error + Send + Sync>> {
        let credentials = sdk.credentials_provider().ok_or("there are no credentials")?.provide_credentials().await?;
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        // S3 wants it, and the others take it.
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = SigningParams::builder().identity(&identity).region(region(sdk)).name(self.service);
        let params = params.time(SystemTime::now()).settings(settings).build()?.into();
        let headers = [("content-type", self.content_type)];
        let body = SignableBody::Bytes(self.body.as_bytes());
        let signable = SignableRequest::new(self.method, url, headers.into_iter(), body)?;
        let (signature, _) = sign(signable, &params)?.into_parts();
        let mut request = http::Request::builder().method(self.method).uri(url);
        request = request.header("content-type", self.content_type);
        let mut request = request.body(SdkBody::from(self.body.as_str()))?;
        signature.apply_to_request_http1x(&mut request);
        Ok(connector(url).call(HttpRequest::try_from(request)?).await?)
    }
}

fn connector(url: &str) -> Connector {
    let builder = Connector::builder();
    if url.starts_with("http://") {
        return builder.build_http();
    }
    builder.proxy_config(ProxyConfig::from_env()).tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
}

/// Where a service is: behind the one endpoint of a local AWS, or at its own host (S2).
pub fn base(sdk: &SdkConfig, service: &str) -> String {
    if let Some(endpoint) = sdk.endpoint_url() {
        return endpoint.trim_end_matches('/').to_owned();
    }
    let suffix = match partition_of(region(sdk)) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    format!("https://{service}.{}.{suffix}", region(sdk))
}

pub fn region(sdk: &SdkConfig) -> &str {
    sdk.region().map(AsRef::as_ref).unwrap_or_default()
}

fn unanswered(why: &str) -> Refusal {
    Refusal { code: "no answer".to_owned(), message: why.to_owned(), request_id: None }
}

/// What stands in the first `<tag>` of an answer.
pub fn text_of(xml: &str, tag: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
}
