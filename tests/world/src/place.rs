//! Where a call lands: account, region, and the partition that follows from the region (S2).

/// The partition of a region, `aws`, `aws-cn` …
pub fn partition(region: &str) -> &'static str {
    match region {
        r if r.starts_with("cn-") => "aws-cn",
        r if r.starts_with("us-gov-") => "aws-us-gov",
        r if r.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

/// The end of every host name of a region's partition.
pub fn dns_suffix(region: &str) -> &'static str {
    match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// Account and region of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub account: String,
    pub region: String,
}

impl Place {
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }

    /// `arn:<partition>:<service>:<region>:<account>:<rest>`
    pub fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{rest}", self.partition(), self.region, self.account)
    }

    /// The same without a region, as IAM's are.
    pub fn global_arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}::{}:{rest}", self.partition(), self.account)
    }

    /// API Gateway's, which have no account.
    pub fn apigateway_arn(&self, path: &str) -> String {
        format!("arn:{}:apigateway:{}::{path}", self.partition(), self.region)
    }

    /// Who is calling.
    pub fn principal(&self) -> String {
        self.global_arn("sts", "assumed-role/ci/session")
    }
}
