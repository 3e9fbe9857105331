//! Who we are to AWS, and the ARNs that follow from it.

/// The partition and account behind the credentials (S1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub partition: String,
    pub account: String,
}

impl Identity {
    /// Reads any ARN of the account.
    pub fn from_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':');
        let (Some("arn"), Some(partition), _, _, Some(account)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        (!partition.is_empty() && account.len() == 12)
            .then(|| Self { partition: partition.to_owned(), account: account.to_owned() })
    }
}

/// The partition that a region lies in, for the few ARNs that are needed before anybody is known (S2).
pub fn partition_of(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

/// Where the console of a partition is, behind a region; that of the others is on no public network.
pub fn console_of(partition: &str) -> Option<&'static str> {
    Some(match partition {
        "aws" => "console.aws.amazon.com",
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        "aws-eusc" => "console.amazonaws-eusc.eu",
        _ => return None,
    })
}
