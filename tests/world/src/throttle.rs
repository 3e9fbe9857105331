//! Request quotas: token buckets, one set a region (G1, L8, D4).

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::operation::Operation;
use crate::service::Service;
use crate::switches::{Rate, Switches};

#[derive(Clone, Default)]
pub(crate) struct Buckets(BTreeMap<&'static str, Bucket>);

#[derive(Clone)]
struct Bucket {
    tokens: f64,
    filled: Moment,
}

impl Buckets {
    /// Takes what the call costs, or nothing and says no.
    pub fn admit(&mut self, operation: &Operation, switches: &Switches, now: Moment) -> bool {
        let quotas: [(&'static str, Option<Rate>); 2] = match (operation.service, operation.name) {
            (Service::ApiGateway, "CreateDeployment") => {
                [("deployment", switches.deployment_rate), ("apigateway", switches.apigateway_rate)]
            }
            (Service::ApiGateway, _) => [("apigateway", switches.apigateway_rate), ("", None)],
            (Service::Lambda, "GetFunction") => [("lambda GetFunction", switches.lambda_get_function_rate), ("", None)],
            (Service::Lambda, "GetPolicy") => [("lambda GetPolicy", switches.lambda_get_policy_rate), ("", None)],
            (Service::Lambda, _) => [("lambda", switches.lambda_rate), ("", None)],
            (Service::DynamoDb, "ListTagsOfResource") => {
                [("dynamodb ListTags", switches.table_list_tags_rate), ("", None)]
            }
            (Service::DynamoDb, "TagResource" | "UntagResource") => {
                [("dynamodb Tag", switches.table_tag_rate), ("", None)]
            }
            _ => return true,
        };
        quotas.into_iter().all(|(name, rate)| rate.is_none_or(|rate| self.take(name, rate, now)))
    }

    fn take(&mut self, name: &'static str, rate: Rate, now: Moment) -> bool {
        let bucket = self.0.entry(name).or_insert(Bucket { tokens: rate.burst, filled: now });
        let gained = now.saturating_sub(bucket.filled).as_secs_f64() * rate.per_second;
        bucket.tokens = (bucket.tokens + gained).min(rate.burst);
        bucket.filled = now;
        // A hair below one is one: the sum of many small gains loses the last bit.
        if bucket.tokens < 1.0 - 1e-9 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}
