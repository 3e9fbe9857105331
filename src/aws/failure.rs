//! An AWS call that failed: which call, on what, and what kind of failure it is.

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::transport::Unreached;
use crate::error::{Code, Error, Exit};

/// One operation of one service, as IAM and CloudTrail write it: `lambda:CreateFunction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub service: &'static str,
    pub name: &'static str,
}

/// What kind of failure it is, as far as the engine cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    NotFound,
    AlreadyExists,
    /// What it rests on has gone since we looked.
    Moved,
    AccessDenied,
    /// No, wrong or expired credentials, or a clock that is off.
    Credentials,
    Throttled,
    /// Worth another try: a timeout, a reset, a 5xx.
    Transient,
    /// The interrupt came while we waited.
    Interrupted,
    Other,
}

#[derive(Clone, Debug)]
pub struct Failure {
    /// The call that failed; `None` where none did, and we refuse by ourselves to go on.
    pub operation: Option<Operation>,
    /// What it was about, as a person would name it: `function chat-sendMessage`.
    pub subject: String,
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
    pub class: Class,
}

/// What AWS says of keys that it does not know: there, any more, or in that region (S4).
const UNKNOWN_KEYS: [&str; 2] = ["UnrecognizedClientException", "InvalidClientTokenId"];

/// Stands with the HTTP status for the error code that the answer did not have.
const NO_CODE: &str = "Http";

impl Failure {
    /// Reads an error of the SDK. Codes are compared as strings, because what is outside an operation's model
    /// arrives as `Unhandled` (R5).
    pub fn of<E>(operation: Operation, subject: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let request_id = error
            .raw_response()
            .and_then(|response| {
                ["x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id", "apigw-requestid"]
                    .iter()
                    .find_map(|name| response.headers().get(*name))
            })
            .map(str::to_owned);
        let (code, message) = match error {
            SdkError::ServiceError(service) => {
                let meta = service.err().meta();
                let code = meta.code().map_or_else(|| format!("{NO_CODE}{}", status.unwrap_or(0)), str::to_owned);
                (code, meta.message().unwrap_or("no message").to_owned())
            }
            SdkError::TimeoutError(_) => (Code::Timeout.into(), "no answer in time".to_owned()),
            SdkError::DispatchFailure(_) if is_about_credentials(error) && !is_network(error) => {
                (Code::Credentials.into(), inmost(error))
            }
            SdkError::DispatchFailure(_) => (Code::Connection.into(), inmost(error)),
            SdkError::ResponseError(_) => (Code::BadResponse.into(), inmost(error)),
            _ => (Code::Client.into(), DisplayErrorContext(error).to_string()),
        };
        let class = classify(operation, &code, &message, status, error);
        Self { operation: Some(operation), subject: subject.to_owned(), code, message, request_id, class }
    }

    /// A failure of ours rather than of a call: what was found stands in the way.
    pub fn ours(
        operation: impl Into<Option<Operation>>,
        subject: &str,
        code: Code,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation: operation.into(),
            subject: subject.to_owned(),
            code: code.into(),
            message: message.into(),
            request_id: None,
            class: Class::Other,
        }
    }

    /// The world is another one than this pass has seen: the next one looks again.
    pub fn moved(subject: &str, what: &str) -> Self {
        Self { class: Class::Moved, ..Self::ours(None::<Operation>, subject, Code::NotConverging, what) }
    }

    pub fn interrupted(operation: impl Into<Option<Operation>>, subject: &str) -> Self {
        let failure = Self::ours(operation, subject, Code::Interrupted, "interrupted while waiting");
        Self { class: Class::Interrupted, ..failure }
    }

    /// Whether the world moved under us, so that looking again may be all that is needed.
    pub fn is_moved_world(&self) -> bool {
        matches!(self.class, Class::NotFound | Class::AlreadyExists | Class::Moved)
            || (self.code.contains("Conflict") && self.code != "DeleteConflict")
            || self.code == "ResourceInUseException"
    }

    /// Whether whoever answered does not know such a call: an emulator that lacks it, or no AWS at all.
    pub fn is_unknown_call(&self) -> bool {
        self.class == Class::Other && self.code.starts_with(NO_CODE)
    }

    /// One line: the thing, the call, the code, AWS's own words; where no call failed, the thing and why.
    pub fn line(&self) -> String {
        let id = self.request_id.as_ref().map(|id| format!(" (request id {id})")).unwrap_or_default();
        let message = self.message.trim_end_matches('.');
        match self.operation {
            Some(Operation { service, name }) => {
                format!("{}: `{service}:{name}` failed with {}: {message}{id}", self.subject, self.code)
            }
            None => format!("{}: {message}", self.subject),
        }
    }

    /// As whoever only reads says it: `cannot read table `chat-connections`: …`.
    pub fn cannot_read(self, what: &str) -> Error {
        Error { message: format!("cannot read {what} `{}`: {}", self.subject, self.message), ..self.into() }
    }

    fn hint(&self) -> Option<String> {
        let Operation { service, name } = self.operation?;
        Some(match self.class {
            Class::AccessDenied if self.message.contains("service control policy") => {
                "a service control policy of the organisation forbids it; whoever runs the organisation has to allow it".to_owned()
            }
            Class::AccessDenied if self.message.contains("permissions boundary") => {
                "a permissions boundary forbids it; name the boundary that roles must have with `--permissions-boundary`".to_owned()
            }
            Class::AccessDenied if self.message.contains("TagResource") || self.message.contains("TagRole") => {
                format!("creating with tags needs the tag permission of {service} too; `chatctl policy` prints all that is needed")
            }
            Class::AccessDenied if service == "apigateway" && name == "CreateApi" => {
                "the tag permission may be missing (`apigateway:TagResource`, `apigateway:POST` on `/tags/*`); `chatctl policy` prints all that is needed".to_owned()
            }
            Class::AccessDenied => "`chatctl policy` prints the IAM policy that is needed".to_owned(),
            Class::Credentials if self.code.contains("Expired") => {
                "get new credentials and run the same command again".to_owned()
            }
            Class::Credentials if self.code.contains("Skew") || self.code.contains("RequestExpired") || self.message.contains("Signature expired") || self.message.contains("not yet current") => {
                "this machine's clock differs from AWS's; set it and run the same command again".to_owned()
            }
            Class::Credentials if self.message.contains("AssumeRoleWithWebIdentity") => {
                "the role does not trust the token of this pipeline; `chatctl policy --github OWNER/REPO` prints the trust policy for GitHub's".to_owned()
            }
            Class::Credentials if UNKNOWN_KEYS.contains(&self.code.as_str()) => {
                "these credentials are no longer valid, or the region is not enabled in this account: check with `aws account get-region-opt-status --region-name REGION`".to_owned()
            }
            Class::Credentials => {
                "sign in with `aws sso login` or `aws login`, set `AWS_PROFILE` or the `AWS_ACCESS_KEY_ID` variables, or use `--local`".to_owned()
            }
            Class::Throttled => "the account's request quota is used up; wait a minute and run the same command again".to_owned(),
            Class::Transient if self.code == Code::Connection.as_str() && self.message.contains("connection refused") => {
                "nothing listens there; does `AWS_ENDPOINT_URL`, an `endpoint_url` of the profile or a proxy lead to the wrong place?".to_owned()
            }
            Class::Transient if self.code == Code::Connection.as_str() => {
                format!("check that the network is up and that {service} exists in this region, then run the same command again")
            }
            // AWS's own answers have an id, also those that went wrong.
            Class::Transient if self.code.starts_with(NO_CODE) && self.request_id.is_none() => {
                "run the same command again; if it fails again, `AWS_ENDPOINT_URL` or a proxy leads to something that does not know this call".to_owned()
            }
            Class::Transient => "run the same command again".to_owned(),
            Class::Other if self.code == "LimitExceeded" || self.code == "LimitExceededException" => {
                "a quota of the account is reached; remove what is not needed or ask AWS for more".to_owned()
            }
            Class::Other if service == "apigateway" && self.message.contains("API mappings") => {
                "remove the API's custom domain mappings first, then run the same command again".to_owned()
            }
            Class::Other if service == "dynamodb" && self.message.contains("eletion protection") => {
                "somebody protected the table; switch its deletion protection off, then run the same command again".to_owned()
            }
            // L18
            Class::Other if name == "PutFunctionConcurrency" && self.message.contains("UnreservedConcurrentExecution") => {
                "the account runs too few functions at once to keep so many for one: ask AWS for more (Lambda's quota `Concurrent executions`), or set a smaller `--reserved-concurrency`".to_owned()
            }
            // I3
            Class::Other if self.code == "DeleteConflict" && self.message.contains("instance profile") => {
                "somebody put the role into an instance profile; take it out, then run the same command again".to_owned()
            }
            // L17
            Class::Other if name == "DeleteLogGroup" && self.code == "ValidationException" => {
                "somebody protected the log group; switch its deletion protection off, then run the same command again".to_owned()
            }
            _ if service == "iam" && self.message.contains("not attachable") => {
                "the policy that `--permissions-boundary` names must exist, in this account or as one of AWS's".to_owned()
            }
            _ if self.is_unknown_call() => {
                "AWS did not answer this: `AWS_ENDPOINT_URL` or a proxy leads to something that does not know this call".to_owned()
            }
            _ => return None,
        })
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let exit = if failure.class == Class::Interrupted { Exit::Interrupted } else { Exit::Failed };
        let mut error = Self::new(exit, failure.code.clone(), failure.line());
        error.hint = failure.hint();
        error
    }
}

/// Two answers that AWS gives as errors, and that a caller may have expected.
pub trait Outcome<T> {
    /// `None` if the thing is not there. Access denied does not say that, and stays an error like all else.
    fn optional(self) -> Result<Option<T>, Failure>;
    /// Of a deletion: what is not there is deleted.
    fn gone(self) -> Result<(), Failure>;
}

impl<T> Outcome<T> for Result<T, Failure> {
    fn optional(self) -> Result<Option<T>, Failure> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.class == Class::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn gone(self) -> Result<(), Failure> {
        self.optional().map(drop)
    }
}

fn classify<E>(
    operation: Operation,
    code: &str,
    message: &str,
    status: Option<u16>,
    error: &SdkError<E, HttpResponse>,
) -> Class
where
    E: std::error::Error + 'static,
{
    // Some services call it `ExpiredToken`, others `ExpiredTokenException`.
    match code.strip_suffix("Exception").unwrap_or(code) {
        "NotFound"
        | "ResourceNotFound"
        | "NoSuchEntity"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue" => return Class::NotFound,
        "EntityAlreadyExists" | "ResourceAlreadyExists" | "QueueNameExists" | "QueueAlreadyExists" => {
            return Class::AlreadyExists;
        }
        "ResourceInUse" if operation.name == "CreateTable" => return Class::AlreadyExists,
        "ResourceConflict" if message.contains("already exist") => return Class::AlreadyExists,
        "Conflict" if !message.contains("try again later") && operation.name.starts_with("Create") => {
            return Class::AlreadyExists;
        }
        // A racing run has led its stage to it since we looked (G9).
        "BadRequest" if operation.name == "DeleteDeployment" && message.contains("Active stages") => {
            return Class::Moved;
        }
        "AccessDenied" | "UnauthorizedOperation" | "AuthorizationError" => return Class::AccessDenied,
        "ExpiredToken"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "RequestInTheFuture"
        | "AuthFailure"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "NotAuthorized" => return Class::Credentials,
        _ => {}
    }
    if code.contains("Throttl")
        || code == "TooManyRequestsException"
        || code == "RequestLimitExceeded"
        || status == Some(429)
    {
        return Class::Throttled;
    }
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Class::Transient,
        SdkError::DispatchFailure(_) if is_network(error) => Class::Transient,
        // Nobody is signed in: the SDK finds that out before it sends anything.
        SdkError::DispatchFailure(dispatch) if dispatch.as_connector_error().is_none_or(|e| e.is_user()) => {
            Class::Credentials
        }
        SdkError::DispatchFailure(_) if is_about_credentials(error) => Class::Credentials,
        SdkError::DispatchFailure(_) => Class::Transient,
        _ if matches!(status, Some(500..=599)) => Class::Transient,
        _ if status == Some(403) => Class::AccessDenied,
        _ if status == Some(401) => Class::Credentials,
        _ => Class::Other,
    }
}

/// What caused what, from the error itself to the deepest.
fn causes<E>(error: &SdkError<E, HttpResponse>) -> impl Iterator<Item = &(dyn std::error::Error + 'static)>
where
    E: std::error::Error + 'static,
{
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| cause.source())
}

/// Whether there were no credentials to sign with: nobody is signed in, or the role cannot be assumed.
fn is_about_credentials<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: std::error::Error + 'static,
{
    causes(error).any(|cause| cause.is::<CredentialsError>() || cause.to_string().contains("redential"))
}

/// Whether somebody could not be reached: AWS, or whoever gives the credentials.
fn is_network<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: std::error::Error + 'static,
{
    causes(error).any(|cause| cause.is::<Unreached>())
}

/// The deepest cause: `connection refused` rather than `dispatch failure`.
fn inmost<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + 'static,
{
    causes(error).last().map_or_else(String::new, |cause| match cause.downcast_ref::<ErrorMetadata>() {
        Some(meta) => format!("{}: {}", meta.code().unwrap_or("no code"), meta.message().unwrap_or("no message")),
        None => cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;

    use super::*;
    use crate::aws::retry::Rule;

    #[test]
    fn a_500_that_is_not_of_aws_names_the_endpoint() {
        let failure = |request_id: Option<&str>| Failure {
            operation: Some(Operation { service: "apigateway", name: "GetAuthorizers" }),
            subject: "authorizer list".to_owned(),
            code: "Http500".to_owned(),
            message: "no message".to_owned(),
            request_id: request_id.map(str::to_owned),
            class: Class::Transient,
        };
        assert!(failure(None).hint().is_some_and(|hint| hint.contains("AWS_ENDPOINT_URL")));
        assert_eq!(failure(Some("1-2")).hint().as_deref(), Some("run the same command again"));
    }

    #[test]
    fn what_no_call_refused_names_no_call() {
        let failure = Failure::moved("function chat-join", "its log group is gone");
        assert_eq!(failure.line(), "function chat-join: its log group is gone");
        assert!(failure.is_moved_world());
        assert_eq!(Rule::for_failure(&failure, true).map(|rule| rule.waits_for), None);
    }

    /// A role to which something is still attached stays as it is, however often one looks.
    #[test]
    fn a_conflict_is_a_moved_world_unless_it_is_about_what_is_attached() {
        let is_moved = |code: &str| {
            Failure { code: code.to_owned(), ..Failure::ours(None, "it", Code::Client, "") }.is_moved_world()
        };
        let codes = [
            "ResourceConflictException",
            "ConflictException",
            "ResourceInUseException",
            "DeleteConflict",
            "BadRequest",
        ];
        assert_eq!(codes.map(is_moved), [true, true, true, false, false]);
    }

    /// What each failure advises, in the order of the rules: none takes what belongs to another.
    #[test]
    fn each_failure_has_its_own_hint_and_most_have_none() {
        let hint = |class: Class, call: &str, code: &str, message: &str| {
            let (service, name) = match call {
                "iam" => ("iam", "PutRolePolicy"),
                "CreateApi" => ("apigateway", "CreateApi"),
                "apigateway" => ("apigateway", "DeleteApi"),
                "dynamodb" => ("dynamodb", "DeleteTable"),
                "PutFunctionConcurrency" => ("lambda", "PutFunctionConcurrency"),
                "DeleteLogGroup" => ("logs", "DeleteLogGroup"),
                _ => ("lambda", "CreateFunction"),
            };
            let failure = Failure {
                operation: Some(Operation { service, name }),
                code: code.to_owned(),
                message: message.to_owned(),
                class,
                ..Failure::ours(None, "it", Code::Client, "")
            };
            failure.hint().unwrap_or_default()
        };
        let (denied, keys) = (Class::AccessDenied, Class::Credentials);
        let cases = [
            (denied, "", "AccessDenied", "explicit deny in a service control policy", "whoever runs the organisation"),
            (denied, "", "AccessDenied", "no permissions boundary allows it", "--permissions-boundary"),
            (denied, "", "AccessDenied", "not authorized: lambda:TagResource", "tag permission of lambda"),
            (denied, "iam", "AccessDenied", "not authorized: iam:TagRole", "tag permission of iam"),
            (denied, "CreateApi", "AccessDenied", "not authorized", "the tag permission may be missing"),
            (denied, "apigateway", "AccessDenied", "not authorized", "`chatctl policy` prints the IAM policy"),
            (denied, "", "AccessDenied", "not authorized", "`chatctl policy` prints the IAM policy"),
            (keys, "", "ExpiredToken", "expired", "get new credentials"),
            (keys, "", "RequestTimeTooSkewed", "no", "clock"),
            (keys, "", "SignatureDoesNotMatch", "Signature expired: 1", "clock"),
            (keys, "", "SignatureDoesNotMatch", "Signature not yet current: 1", "clock"),
            (keys, "", "Credentials", "AssumeRoleWithWebIdentity failed", "token of this pipeline"),
            (keys, "", "InvalidClientTokenId", "no", "get-region-opt-status"),
            (keys, "", "UnrecognizedClientException", "no", "get-region-opt-status"),
            (keys, "", "AuthFailure", "no", "aws sso login"),
            (Class::Throttled, "", "Throttling", "slower", "request quota"),
            (Class::Transient, "", "Connection", "connection refused", "nothing listens there"),
            (Class::Transient, "", "Connection", "reset by peer", "the network is up and that lambda"),
            (Class::Transient, "", "Timeout", "connection refused", "run the same command again"),
            (Class::Transient, "", "Http500", "no message", "does not know this call"),
            (Class::Transient, "", "InternalFailure", "no", "run the same command again"),
            (Class::Other, "iam", "LimitExceeded", "no", "a quota of the account"),
            (Class::Other, "", "LimitExceededException", "no", "a quota of the account"),
            (Class::Other, "apigateway", "BadRequest", "has API mappings", "custom domain mappings"),
            (Class::Other, "", "BadRequest", "has API mappings", ""),
            (Class::Other, "apigateway", "BadRequest", "other", ""),
            (
                Class::Other,
                "dynamodb",
                "ValidationException",
                "Deletion protection is on",
                "somebody protected the table",
            ),
            (Class::Other, "", "ValidationException", "Deletion protection is on", ""),
            (Class::Other, "dynamodb", "ValidationException", "other", ""),
            (
                Class::Other,
                "PutFunctionConcurrency",
                "Invalid",
                "UnreservedConcurrentExecution",
                "--reserved-concurrency",
            ),
            (Class::Other, "PutFunctionConcurrency", "Invalid", "other", ""),
            (Class::Other, "", "Invalid", "UnreservedConcurrentExecution", ""),
            (Class::Other, "iam", "DeleteConflict", "in an instance profile", "take it out"),
            (Class::Other, "iam", "DeleteConflict", "other", ""),
            (Class::Other, "iam", "Other", "in an instance profile", ""),
            (Class::Other, "DeleteLogGroup", "ValidationException", "no", "somebody protected the log group"),
            (Class::Other, "DeleteLogGroup", "Other", "no", ""),
            (Class::Other, "", "ValidationException", "no", ""),
            (Class::NotFound, "iam", "NoSuchEntity", "policy is not attachable", "must exist, in this account"),
            (Class::NotFound, "", "NoSuchEntity", "policy is not attachable", ""),
            (Class::NotFound, "iam", "NoSuchEntity", "no", ""),
            (Class::Other, "", "Http501", "no message", "AWS did not answer this"),
            (Class::NotFound, "", "Http404", "no message", ""),
        ];
        for (class, call, code, message, advice) in cases {
            let hint = hint(class, call, code, message);
            assert!(hint.contains(advice) && hint.is_empty() == advice.is_empty(), "{call} {code} {message}: {hint}");
        }
    }

    /// What a call's answer is taken for, by its code, its words and its status.
    #[test]
    fn each_answer_is_of_its_class() {
        let class = |name: &'static str, code: Option<&str>, message: &str, status: u16| {
            let mut meta = ErrorMetadata::builder().message(message);
            if let Some(code) = code {
                meta = meta.code(code);
            }
            let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
            let error = SdkError::service_error(meta.build(), answer);
            Failure::of(Operation { service: "any", name }, "it", &error).class
        };
        let of_codes = [
            ("GetRole", "NoSuchEntity", "", Class::NotFound),
            ("GetFunction", "ResourceNotFoundException", "", Class::NotFound),
            ("GetQueueUrl", "QueueDoesNotExist", "", Class::NotFound),
            ("CreateRole", "EntityAlreadyExists", "", Class::AlreadyExists),
            ("CreateTable", "ResourceInUseException", "", Class::AlreadyExists),
            ("DeleteTable", "ResourceInUseException", "", Class::Other),
            ("CreateFunction", "ResourceConflictException", "Function already exist: it", Class::AlreadyExists),
            ("CreateFunction", "ResourceConflictException", "an update is in progress", Class::Other),
            ("CreateRoute", "ConflictException", "there is one", Class::AlreadyExists),
            ("CreateRoute", "ConflictException", "try again later", Class::Other),
            ("UpdateRoute", "ConflictException", "there is one", Class::Other),
            ("UpdateRoute", "ConflictException", "try again later", Class::Other),
            ("DeleteDeployment", "BadRequestException", "Active stages point to it", Class::Moved),
            ("DeleteDeployment", "BadRequestException", "no", Class::Other),
            ("DeleteStage", "BadRequestException", "Active stages point to it", Class::Other),
            ("GetRole", "AccessDenied", "", Class::AccessDenied),
            ("GetFunction", "AccessDeniedException", "", Class::AccessDenied),
            ("GetFunction", "ExpiredTokenException", "", Class::Credentials),
            ("GetFunction", "SignatureDoesNotMatch", "", Class::Credentials),
            ("GetFunction", "ThrottlingException", "", Class::Throttled),
            ("GetFunction", "TooManyRequestsException", "", Class::Throttled),
            ("GetFunction", "RequestLimitExceeded", "", Class::Throttled),
            ("GetFunction", "ValidationException", "", Class::Other),
        ];
        for (name, code, message, expected) in of_codes {
            assert_eq!(class(name, Some(code), message, 400), expected, "{name} {code} {message}");
        }
        let of_statuses = [
            (401, Class::Credentials),
            (403, Class::AccessDenied),
            (404, Class::Other),
            (429, Class::Throttled),
            (500, Class::Transient),
            (599, Class::Transient),
        ];
        for (status, expected) in of_statuses {
            assert_eq!(class("GetFunction", None, "", status), expected, "{status}");
        }
    }

    /// Where there was no answer, what counts is whether anybody was reached.
    #[test]
    fn no_answer_is_told_by_what_was_missing() {
        type Unanswered = SdkError<ErrorMetadata, HttpResponse>;

        let told = |error: Unanswered| {
            let failure = Failure::of(Operation { service: "any", name: "GetIt" }, "it", &error);
            (failure.class, failure.code)
        };
        let dispatch = |error: ConnectorError| told(Unanswered::dispatch_failure(error));
        let unreached =
            || Unreached { what: "connection refused".to_owned(), endpoint: "http://127.0.0.1:1".to_owned() };
        let (network, credentials) = (Code::Connection.as_str(), Code::Credentials.as_str());
        let cases = [
            (dispatch(ConnectorError::io("reset by peer".into())), Class::Transient, network),
            (dispatch(ConnectorError::other(unreached().into(), None)), Class::Transient, network),
            (dispatch(ConnectorError::user(unreached().into())), Class::Transient, network),
            (dispatch(ConnectorError::user("it cannot be sent".into())), Class::Credentials, network),
            (dispatch(ConnectorError::other("no credentials".into(), None)), Class::Credentials, credentials),
            (told(Unanswered::timeout_error("late")), Class::Transient, Code::Timeout.as_str()),
        ];
        for (at, ((class, code), expected, expected_code)) in cases.into_iter().enumerate() {
            assert_eq!((class, code.as_str()), (expected, expected_code), "case {at}");
        }
    }
}
