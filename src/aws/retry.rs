//! Which refusals are worth another try, why, how often, and for how long (R3).
//!
//! The SDK itself retries 5xx and broken connections. Everything else that heals by waiting is in
//! `RULES`, and nothing that is not there is tried again.

use std::time::Duration;

use super::failure::{Class, Failure};

/// One refusal that heals by itself.
pub struct Rule {
    service: &'static str,
    operations: &'static [&'static str],
    matches: fn(&Failure) -> bool,
    /// Only for what this run has made itself a moment ago.
    only_fresh: bool,
    /// What we wait for, in the words of the live view.
    pub waits_for: &'static str,
    /// The next try comes after something between the two, in milliseconds.
    pause: (u64, u64),
    /// When it has usually healed, in seconds after the first try; the pauses grow with the time from then on.
    usual: u64,
    pub budget: Duration,
}

const UNKNOWN: u64 = u64::MAX;

/// Quotas come on top of other waits, and hide none of them.
pub const QUOTA: &str = "the account's request quota";

const ANY: &[&str] = &[];

/// Lambda's ways to say that it does not see the new role yet (L1).
const ROLE_NOT_SEEN: [&str; 4] = [
    "cannot be assumed by Lambda",
    "execution role does not have permissions",
    "KMS key is invalid for CreateGrant",
    "does not refer to a valid principal",
];

const RULES: &[Rule] = &[
    Rule {
        // L1: usually 7 to 12 s, more than 48 s have been seen. Three functions ask for eight of Lambda's 15 calls
        // a second (L8), and each try of a new one uploads it again.
        service: "lambda",
        operations: &["CreateFunction", "UpdateFunctionConfiguration"],
        matches: |f| {
            f.code == "InvalidParameterValueException" && ROLE_NOT_SEEN.iter().any(|text| f.message.contains(text))
        },
        only_fresh: false,
        waits_for: "the role to be assumable by Lambda",
        pause: (380, 415),
        usual: 13,
        budget: Duration::from_secs(180),
    },
    Rule {
        // Q2: a name is free again a minute after its queue was deleted.
        service: "sqs",
        operations: &["CreateQueue"],
        matches: |f| f.code.ends_with("QueueDeletedRecently"),
        only_fresh: false,
        waits_for: "the old queue of this name to be forgotten",
        pause: (1_500, 2_500),
        usual: UNKNOWN,
        budget: Duration::from_secs(90),
    },
    Rule {
        // Q3: the role's policy is too young to be seen.
        service: "lambda",
        operations: &["CreateEventSourceMapping"],
        matches: |f| {
            f.code == "InvalidParameterValueException" && f.message.contains("execution role does not have permissions")
        },
        only_fresh: false,
        waits_for: "the role's permissions to be seen",
        pause: (400, 490),
        usual: UNKNOWN,
        budget: Duration::from_secs(60),
    },
    Rule {
        // Q4: a mapping that is being changed takes no other change.
        service: "lambda",
        operations: &["UpdateEventSourceMapping", "DeleteEventSourceMapping"],
        matches: |f| f.code == "ResourceInUseException",
        only_fresh: false,
        waits_for: "the mapping to settle",
        pause: (400, 490),
        usual: UNKNOWN,
        budget: Duration::from_secs(120),
    },
    Rule {
        // L3: pending, or a change still in progress; L7: a concurrent policy write.
        service: "lambda",
        operations: ANY,
        matches: |f| f.code == "ResourceConflictException" && f.class != Class::AlreadyExists,
        only_fresh: false,
        waits_for: "the function to settle",
        pause: (400, 490),
        usual: UNKNOWN,
        budget: Duration::from_secs(60),
    },
    Rule {
        // L7: the policy was written by somebody else in between.
        service: "lambda",
        operations: &["AddPermission", "RemovePermission"],
        matches: |f| f.code == "PreconditionFailedException",
        only_fresh: false,
        waits_for: "the function's policy to settle",
        pause: (200, 400),
        usual: UNKNOWN,
        budget: Duration::from_secs(60),
    },
    Rule {
        // G2
        service: "apigateway",
        operations: ANY,
        matches: |f| f.code == "ConflictException" && f.message.contains("try again later"),
        only_fresh: false,
        waits_for: "another change of the API to end",
        pause: (300, 700),
        usual: UNKNOWN,
        budget: Duration::from_secs(60),
    },
    Rule {
        // A route may have let go of it a moment ago (G22).
        service: "apigateway",
        operations: &["DeleteAuthorizer"],
        matches: |f| f.code == "ConflictException",
        only_fresh: false,
        waits_for: "the authorizer to be let go of",
        pause: (300, 700),
        usual: UNKNOWN,
        budget: Duration::from_secs(15),
    },
    Rule {
        // G1, L8: ten or fifteen calls a second, for the whole account, and one deployment in five. A refused call had
        // no effect, so that it may be sent again in any case. Ten runs at once then ask about as often as they may.
        service: "",
        operations: ANY,
        matches: |f| f.class == Class::Throttled,
        only_fresh: false,
        waits_for: QUOTA,
        pause: (600, 1_400),
        usual: UNKNOWN,
        budget: Duration::from_secs(180),
    },
    Rule {
        // Sent without the SDK's own retries, whose long pauses would waste the quota; one too many is pruned.
        service: "apigateway",
        operations: &["CreateDeployment"],
        matches: |f| f.class == Class::Transient,
        only_fresh: false,
        waits_for: "API Gateway to answer",
        pause: (500, 1_000),
        usual: UNKNOWN,
        budget: Duration::from_secs(30),
    },
    Rule {
        // I4
        service: "iam",
        operations: ANY,
        matches: |f| f.code == "ConcurrentModification" || f.code == "ConcurrentModificationException",
        only_fresh: false,
        waits_for: "another change of the role to end",
        pause: (300, 700),
        usual: UNKNOWN,
        budget: Duration::from_secs(60),
    },
    Rule {
        // I11: a role that IAM does not see yet has no path, and by that ARN the write is denied.
        service: "iam",
        operations: &["PutRolePolicy"],
        matches: |f| f.class == Class::AccessDenied,
        only_fresh: true,
        waits_for: "the new role to be seen",
        pause: (300, 490),
        usual: UNKNOWN,
        budget: Duration::from_secs(15),
    },
    Rule {
        // I1, D1: a read or write right after the create may not see it yet.
        service: "",
        operations: ANY,
        matches: |f| f.class == Class::NotFound,
        only_fresh: true,
        waits_for: "the new resource to be seen",
        pause: (300, 490),
        usual: UNKNOWN,
        budget: Duration::from_secs(30),
    },
    Rule {
        // D2
        service: "dynamodb",
        operations: &["DeleteTable", "UpdateTimeToLive", "TagResource", "UntagResource", "UpdateTable"],
        matches: |f| f.code == "ResourceInUseException",
        only_fresh: false,
        waits_for: "the table to settle",
        pause: (400, 490),
        usual: UNKNOWN,
        budget: Duration::from_secs(300),
    },
    Rule {
        service: "logs",
        operations: ANY,
        matches: |f| f.code == "OperationAbortedException",
        only_fresh: false,
        waits_for: "another change of the log group to end",
        pause: (300, 700),
        usual: UNKNOWN,
        budget: Duration::from_secs(30),
    },
];

impl Rule {
    /// The rule for `failure`, if there is one; `fresh` tells whether this run has made its subject.
    pub fn for_failure(failure: &Failure, fresh: bool) -> Option<&'static Self> {
        let operation = failure.operation?;
        RULES.iter().find(|rule| {
            (rule.service.is_empty() || rule.service == operation.service)
                && (rule.operations.is_empty() || rule.operations.contains(&operation.name))
                && (fresh || !rule.only_fresh)
                && (rule.matches)(failure)
        })
    }

    /// How long to wait before the next try, `waited` after the first; jittered, so that runs side by side spread out.
    pub fn pause(&self, waited: Duration) -> Duration {
        const LONGEST: f64 = 5.0;
        let (from, to) = self.pause;
        let pause = Duration::from_millis(fastrand::u64(from..=to));
        pause.mul_f64((waited.as_secs_f64() / self.usual as f64).clamp(1.0, LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure::Operation;

    fn waits_for(
        operation: (&'static str, &'static str),
        code: &str,
        says: &str,
        class: Class,
    ) -> Option<&'static str> {
        rule(operation, code, says, class, true).map(|rule| rule.waits_for)
    }

    fn rule(
        (service, name): (&'static str, &'static str),
        code: &str,
        says: &str,
        class: Class,
        fresh: bool,
    ) -> Option<&'static Rule> {
        let failure = Failure {
            operation: Some(Operation { service, name }),
            subject: "function chat-join".to_owned(),
            code: code.to_owned(),
            message: says.to_owned(),
            request_id: None,
            class,
        };
        Rule::for_failure(&failure, fresh)
    }

    #[test]
    fn each_refusal_that_heals_has_its_rule() {
        use Class::{AccessDenied, NotFound, Other, Throttled, Transient};
        let role = "the role to be assumable by Lambda";
        let unseen = "The role defined for the function cannot be assumed by Lambda.";
        let denied = "The provided execution role does not have permissions to call ReceiveMessage on SQS";
        let later = "Unable to complete operation due to concurrent modification. Please try again later.";
        for (operation, code, says, class, waited_for) in [
            (("lambda", "CreateFunction"), "InvalidParameterValueException", unseen, Other, role),
            (("lambda", "UpdateFunctionConfiguration"), "InvalidParameterValueException", unseen, Other, role),
            (
                ("lambda", "CreateEventSourceMapping"),
                "InvalidParameterValueException",
                denied,
                Other,
                "the role's permissions to be seen",
            ),
            (("lambda", "UpdateEventSourceMapping"), "ResourceInUseException", "", Other, "the mapping to settle"),
            (("lambda", "DeleteEventSourceMapping"), "ResourceInUseException", "", Other, "the mapping to settle"),
            (("lambda", "UpdateFunctionCode"), "ResourceConflictException", "", Other, "the function to settle"),
            (("lambda", "AddPermission"), "PreconditionFailedException", "", Other, "the function's policy to settle"),
            (
                ("sqs", "CreateQueue"),
                "AWS.SimpleQueueService.QueueDeletedRecently",
                "",
                Other,
                "the old queue of this name to be forgotten",
            ),
            (("apigateway", "CreateRoute"), "ConflictException", later, Other, "another change of the API to end"),
            (("apigateway", "DeleteAuthorizer"), "ConflictException", "", Other, "the authorizer to be let go of"),
            (("apigateway", "CreateDeployment"), "Http503", "", Transient, "API Gateway to answer"),
            (("logs", "DescribeLogGroups"), "ThrottlingException", "", Throttled, QUOTA),
            (("iam", "TagRole"), "ConcurrentModification", "", Other, "another change of the role to end"),
            (("iam", "TagRole"), "ConcurrentModificationException", "", Other, "another change of the role to end"),
            (("iam", "PutRolePolicy"), "AccessDenied", "", AccessDenied, "the new role to be seen"),
            (("iam", "GetRole"), "NoSuchEntity", "", NotFound, "the new resource to be seen"),
            (("dynamodb", "DeleteTable"), "ResourceInUseException", "", Other, "the table to settle"),
            (("logs", "TagResource"), "OperationAbortedException", "", Other, "another change of the log group to end"),
        ] {
            assert_eq!(waits_for(operation, code, says, class), Some(waited_for), "{operation:?}: {code}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_not_tried_again() {
        use Class::{AccessDenied, AlreadyExists, Other, Transient};
        let unseen = "The role defined for the function cannot be assumed by Lambda.";
        for (operation, code, says, class) in [
            (("lambda", "CreateFunction"), "InvalidParameterValueException", "The runtime is not supported", Other),
            (("lambda", "CreateFunction"), "ValidationException", unseen, Other),
            (("lambda", "UpdateFunctionCode"), "InvalidParameterValueException", unseen, Other),
            (("lambda", "CreateFunction"), "ResourceConflictException", "", AlreadyExists),
            (("lambda", "CreateEventSourceMapping"), "InvalidParameterValueException", "no such queue", Other),
            (("lambda", "CreateEventSourceMapping"), "ResourceInUseException", "", Other),
            (("lambda", "UpdateEventSourceMapping"), "InvalidParameterValueException", "", Other),
            (("lambda", "UpdateFunctionCode"), "PreconditionFailedException", "", Other),
            (("sqs", "CreateQueue"), "QueueNameExists", "", AlreadyExists),
            (("apigateway", "CreateRoute"), "ConflictException", "Route with key $connect already exists", Other),
            (("apigateway", "CreateRoute"), "BadRequestException", "try again later", Other),
            (("apigateway", "CreateRoute"), "Http503", "", Transient),
            (("apigateway", "DeleteAuthorizer"), "BadRequestException", "", Other),
            (("apigateway", "CreateDeployment"), "BadRequestException", "", Other),
            (("iam", "CreateRole"), "AccessDenied", "", AccessDenied),
            (("iam", "PutRolePolicy"), "MalformedPolicyDocument", "", Other),
            (("dynamodb", "CreateTable"), "ResourceInUseException", "", Other),
            (("dynamodb", "UpdateTable"), "LimitExceededException", "", Other),
            (("logs", "CreateLogGroup"), "LimitExceededException", "", Other),
        ] {
            assert_eq!(waits_for(operation, code, says, class), None, "{operation:?}: {code}");
        }
    }

    #[test]
    fn only_what_this_run_has_made_is_waited_for() {
        for (operation, code, class) in [
            (("iam", "PutRolePolicy"), "AccessDenied", Class::AccessDenied),
            (("iam", "GetRole"), "NoSuchEntity", Class::NotFound),
        ] {
            assert!(rule(operation, code, "", class, true).is_some(), "{operation:?}");
            assert!(rule(operation, code, "", class, false).is_none(), "{operation:?}");
        }
    }

    #[test]
    fn pauses_grow_only_once_it_takes_longer_than_usual_and_not_for_ever() {
        let role = rule(
            ("lambda", "CreateFunction"),
            "InvalidParameterValueException",
            "cannot be assumed by Lambda",
            Class::Other,
            false,
        )
        .unwrap();
        let within = |waited, (from, to)| {
            let pause = role.pause(Duration::from_secs(waited)).as_millis();
            assert!((from..=to).contains(&pause), "{pause} ms after {waited} s");
        };
        within(0, (380, 415));
        within(13, (380, 415));
        within(26, (760, 830));
        within(500, (1_900, 2_075));
    }
}
