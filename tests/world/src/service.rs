//! The services that the model has, a line each; what there is to say of one stands in its own file.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::fields::Fields;
use crate::operation::{Request, Wire};
use crate::reply::{Answer, Refusal};
use crate::state::Role;
use crate::{apigateway, cloudwatch, dynamodb, iam, lambda, logs, sqs, sts};

macro_rules! services {
    ($($name:ident => $module:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Service {
            $($name,)*
        }

        impl Service {
            const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) fn model(self) -> &'static dyn Model {
                match self {
                    $(Self::$name => &$module::$name,)*
                }
            }
        }
    };
}

services! {
    ApiGateway => apigateway,
    CloudWatch => cloudwatch,
    DynamoDb => dynamodb,
    Iam => iam,
    Lambda => lambda,
    Logs => logs,
    Sqs => sqs,
    Sts => sts,
}

impl Service {
    /// The name in IAM actions.
    pub fn name(self) -> &'static str {
        self.model().name()
    }

    /// The one that signatures call `name`.
    pub(crate) fn signed(name: &str) -> Self {
        let known = Self::ALL.iter().find(|service| service.model().signing_name() == name);
        *known.unwrap_or_else(|| panic!("world: no service `{name}` in this model"))
    }
}

/// A request as it is read: the operation, whether that is a write, the members.
pub(crate) type Read = (&'static str, bool, Map<String, Value>);

/// What the model has to know of a service.
pub(crate) trait Model: Sync {
    /// The name in IAM actions.
    fn name(&self) -> &'static str;

    fn signing_name(&self) -> &'static str {
        self.name()
    }

    /// The name of its model in `service-models.json`.
    fn model_name(&self) -> &'static str {
        self.name()
    }

    fn protocol(&self) -> Protocol;

    /// Panics at what the model does not know.
    fn read(&self, wire: &Wire<'_>) -> Read;

    fn handle(&self, context: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer;

    /// The members that name what a call is about; the first that is there does.
    fn named_by(&self) -> &'static [&'static str];

    fn refusals(&self) -> Refusals;

    /// A refusal in JSON.
    fn error(&self, Refusal { code, message, .. }: &Refusal) -> Value {
        json!({ "__type": code, "message": message })
    }

    /// What a call is about, as IAM writes it.
    fn arn(&self, request: &Request, role: Option<&Role>) -> String;

    /// The IAM action that a call needs above all.
    fn action(&self, request: &Request) -> String {
        format!("{}:{}", self.name(), request.operation.name)
    }

    /// The operations that create, the member in which they may be given tags, and the action that this takes too (P).
    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[]
    }
}

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The code of an error stands in a header.
    RestJson,
    /// JSON of this version; the operation stands in a header.
    Json(&'static str),
    /// CBOR; the operation stands in the path.
    Cbor,
    /// Forms, answered in XML of this namespace.
    Query(&'static str),
}

/// How a service says what all of them may have to say: status, code and, where they differ, message.
pub(crate) struct Refusals {
    pub denied: (u16, &'static str),
    pub throttled: (u16, &'static str, &'static str),
    pub expired: (u16, &'static str),
    pub skewed: (u16, &'static str),
    /// The code of 500, and that of 503.
    pub broken: &'static str,
    pub unavailable: &'static str,
}

impl Refusals {
    /// Those of the services that speak AWS's query protocol, or did at first; their 500 has a code of its own.
    pub fn of_query(broken: &'static str) -> Self {
        Self {
            denied: (403, "AccessDenied"),
            throttled: (400, "Throttling", "Rate exceeded"),
            expired: (403, "ExpiredToken"),
            skewed: (403, "SignatureDoesNotMatch"),
            broken,
            unavailable: "ServiceUnavailable",
        }
    }
}
