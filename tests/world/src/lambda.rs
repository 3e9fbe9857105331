//! Lambda: functions, their states and their resource policies.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::{self, Moment};
use crate::context::{Context, limit, page};
use crate::fields::Fields;
use crate::mappings;
use crate::operation::{Request, Rest, Wire};
use crate::policy::{self, Facts};
use crate::reply::{Answer, Refusal, Reply};
use crate::rules::{self, Arn, role_by_arn, spelled};
use crate::service::{Model, Protocol, Read, Refusals};
use crate::state::{Account, Function, Role, Statement, Tags};

/// What can be created today (L9).
const RUNTIMES: [&str; 12] = [
    "nodejs22.x",
    "nodejs24.x",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "java17",
    "java21",
    "java25",
    "dotnet8",
    "ruby3.4",
    "provided.al2023",
];

/// What could be created once.
const RETIRED: [&str; 6] = ["nodejs20.x", "nodejs18.x", "nodejs16.x", "python3.9", "python3.8", "provided.al2"];

const OTHER: [&str; 3] = ["EphemeralStorage", "LoggingConfig", "TracingConfig"];

const ENVIRONMENT_LIMIT: usize = 4_096;
const ZIP_LIMIT: usize = 50 * 1_024 * 1_024;

pub(crate) struct Lambda;

impl Model for Lambda {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn protocol(&self) -> Protocol {
        Protocol::RestJson
    }

    fn read(&self, wire: &Wire<'_>) -> Read {
        read(wire)
    }

    fn handle(&self, cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
        handle(cx, operation, fields)
    }

    fn named_by(&self) -> &'static [&'static str] {
        &["functionName", "FunctionName", "resourceArn"]
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            denied: (403, "AccessDeniedException"),
            throttled: (429, "TooManyRequestsException", "Rate exceeded"),
            expired: (403, "ExpiredTokenException"),
            skewed: (403, "InvalidSignatureException"),
            broken: "ServiceException",
            unavailable: "ServiceUnavailableException",
        }
    }

    fn error(&self, Refusal { status, code, message }: &Refusal) -> Value {
        // AccessDeniedException comes from the front of the service, with a capital letter.
        let key = if code.ends_with("Exception") && *status == 403 { "Message" } else { "message" };
        json!({ "Type": if *status < 500 { "User" } else { "Service" }, key: message })
    }

    fn arn(&self, request: &Request, _: Option<&Role>) -> String {
        match (request.operation.name, request.resource.as_str()) {
            (_, arn) if arn.starts_with("arn:") => arn.to_owned(),
            ("CreateEventSourceMapping" | "ListEventSourceMappings", _) => "*".to_owned(),
            (name, _) if name.ends_with("EventSourceMapping") => {
                request.place.arn("lambda", "event-source-mapping:any")
            }
            (_, "") => "*".to_owned(),
            (_, name) => request.place.arn("lambda", &format!("function:{name}")),
        }
    }

    fn tagging(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        &[("CreateFunction", "Tags", "lambda:TagResource"), ("CreateEventSourceMapping", "Tags", "lambda:TagResource")]
    }
}

/// Which operation a request is.
fn read(wire: &Wire<'_>) -> Read {
    let rest = Rest::new(wire);
    match (wire.method, rest.segments.as_slice()) {
        ("POST", ["2015-03-31", "functions"]) => rest.is("CreateFunction", &[]),
        ("GET", ["2015-03-31", "functions"]) => rest.is("ListFunctions", &[]),
        ("GET", ["2015-03-31", "functions", f]) => rest.is("GetFunction", &[("functionName", f)]),
        ("DELETE", ["2015-03-31", "functions", f]) => rest.is("DeleteFunction", &[("functionName", f)]),
        ("PUT", ["2015-03-31", "functions", f, "code"]) => rest.is("UpdateFunctionCode", &[("functionName", f)]),
        ("GET", ["2015-03-31", "functions", f, "configuration"]) => {
            rest.is("GetFunctionConfiguration", &[("functionName", f)])
        }
        ("PUT", ["2015-03-31", "functions", f, "configuration"]) => {
            rest.is("UpdateFunctionConfiguration", &[("functionName", f)])
        }
        ("PUT", ["2017-10-31", "functions", f, "concurrency"]) => {
            rest.is("PutFunctionConcurrency", &[("functionName", f)])
        }
        ("DELETE", ["2017-10-31", "functions", f, "concurrency"]) => {
            rest.is("DeleteFunctionConcurrency", &[("functionName", f)])
        }
        ("GET", ["2015-03-31", "functions", f, "policy"]) => rest.is("GetPolicy", &[("functionName", f)]),
        ("POST", ["2015-03-31", "functions", f, "policy"]) => rest.is("AddPermission", &[("functionName", f)]),
        ("DELETE", ["2015-03-31", "functions", f, "policy", sid]) => {
            rest.is("RemovePermission", &[("functionName", f), ("statementId", sid)])
        }
        ("POST", ["2015-03-31", "event-source-mappings"]) => rest.is("CreateEventSourceMapping", &[]),
        ("GET", ["2015-03-31", "event-source-mappings"]) => rest.is("ListEventSourceMappings", &[]),
        ("PUT", ["2015-03-31", "event-source-mappings", id]) => rest.is("UpdateEventSourceMapping", &[("UUID", id)]),
        ("DELETE", ["2015-03-31", "event-source-mappings", id]) => rest.is("DeleteEventSourceMapping", &[("UUID", id)]),
        ("GET", ["2017-03-31", "tags", arn]) => rest.is("ListTags", &[("resourceArn", arn)]),
        ("POST", ["2017-03-31", "tags", arn]) => rest.is("TagResource", &[("resourceArn", arn)]),
        ("DELETE", ["2017-03-31", "tags", arn]) => rest.is("UntagResource", &[("resourceArn", arn)]),
        _ => rest.unknown(),
    }
}

fn handle(cx: &mut Context<'_>, operation: &'static str, fields: Fields) -> Answer {
    match operation {
        "CreateFunction" => create(cx, fields),
        "GetFunction" => get(cx, fields),
        "GetFunctionConfiguration" => get_configuration(cx, fields),
        "ListFunctions" => list(cx, fields),
        "UpdateFunctionCode" => update_code(cx, fields),
        "UpdateFunctionConfiguration" => update_configuration(cx, fields),
        "DeleteFunction" => delete(cx, fields),
        "PutFunctionConcurrency" => put_concurrency(cx, fields),
        "DeleteFunctionConcurrency" => delete_concurrency(cx, fields),
        "AddPermission" => add_permission(cx, fields),
        "RemovePermission" => remove_permission(cx, fields),
        "GetPolicy" => get_policy(cx, fields),
        "ListTags" => list_tags(cx, fields),
        "TagResource" => tag(cx, fields),
        "UntagResource" => untag(cx, fields),
        "CreateEventSourceMapping" => mappings::create(cx, fields),
        "ListEventSourceMappings" => mappings::list(cx, fields),
        "UpdateEventSourceMapping" => mappings::update(cx, fields),
        "DeleteEventSourceMapping" => mappings::delete(cx, fields),
        other => unreachable!("{other} is not routed here"),
    }
}

/// The name out of a name or an ARN.
pub(crate) fn bare_name(name_or_arn: &str) -> &str {
    match name_or_arn.split_once(":function:") {
        Some((_, rest)) => rest.split(':').next().unwrap_or(rest),
        None => name_or_arn,
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidParameterValueException", message)
}

fn constraint(member: &str, value: &str, rule: &str) -> Refusal {
    let message =
        format!("1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {rule}");
    Refusal::new(400, "ValidationException", message)
}

pub(crate) fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new(409, "ResourceConflictException", message)
}

fn not_found(cx: &Context<'_>, name: &str) -> Refusal {
    let arn = cx.place.arn("lambda", &format!("function:{name}"));
    Refusal::new(404, "ResourceNotFoundException", format!("Function not found: {arn}"))
}

fn function<'a>(cx: &'a mut Context<'_>, name_or_arn: &str) -> Result<&'a mut Function, Refusal> {
    let name = bare_name(name_or_arn);
    if let Some(arn) = name_or_arn.starts_with("arn:").then(|| Arn::read(name_or_arn))
        && !arn.is_some_and(|arn| arn.service == "lambda" && arn.is_in(cx.place))
    {
        return Err(invalid(format!("Invalid function ARN: {name_or_arn}")));
    }
    let missing = not_found(cx, name);
    cx.account.region(&cx.place.region).functions.get_mut(name).ok_or(missing)
}

fn create(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = bare_name(&fields.text("FunctionName").unwrap_or_default()).to_owned();
    let zip = zip(fields.object("Code").map(|mut code| {
        let zip = code.text("ZipFile");
        code.done();
        zip
    }))?;
    let mut function = Function {
        arn: cx.place.arn("lambda", &format!("function:{name}")),
        architecture: architecture(&mut fields)?.unwrap_or_else(|| "x86_64".to_owned()),
        // L11
        memory_mb: 128,
        timeout_seconds: 3,
        tags: fields.text_map("Tags").unwrap_or_default(),
        created: cx.now,
        active_at: cx.now + cx.switches.function_pending,
        updated_at: cx.now,
        name,
        ..Function::default()
    };
    let package = fields.text("PackageType");
    assert!(matches!(package.as_deref(), None | Some("Zip")), "world: only zip packages are in this model");
    assert!(!fields.flag("Publish").unwrap_or_default(), "world: versions are not in this model");
    function.fill(&mut fields);
    fields.done();
    function.put_code(&zip);
    function.touch(cx.now);
    check(cx, &function)?;
    if let Some(fault) = rules::tags_fault(&function.tags) {
        return Err(invalid(fault));
    }
    // L4, also for one that is just being deleted.
    if cx.account.region(&cx.place.region).functions.contains_key(&function.name) {
        return Err(conflict(format!("Function already exist: {}", function.name)));
    }
    check_role(cx, &function.role)?;
    function.encrypt(cx.account);
    let view = configuration(&function, cx.now);
    cx.account.region(&cx.place.region).functions.insert(function.name.clone(), function);
    Ok(Reply::json(201, view))
}

fn architecture(fields: &mut Fields) -> Result<Option<String>, Refusal> {
    let Some(list) = fields.texts("Architectures") else {
        return Ok(None);
    };
    match list.as_slice() {
        [one] if one == "arm64" || one == "x86_64" => Ok(Some(one.clone())),
        other => Err(constraint(
            "architectures",
            &format!("{other:?}"),
            "Member must satisfy enum value set: [x86_64, arm64]",
        )),
    }
}

fn zip(sent: Option<Option<String>>) -> Result<Vec<u8>, Refusal> {
    let Some(text) = sent.flatten() else {
        return Err(invalid("Please provide a source for function code."));
    };
    let bytes = STANDARD.decode(text).map_err(|_| invalid("Could not unzip uploaded file."))?;
    if !bytes.starts_with(b"PK") {
        return Err(invalid("Could not unzip uploaded file. Please check your file, then try to upload again."));
    }
    if bytes.len() > ZIP_LIMIT {
        return Err(Refusal::new(413, "RequestEntityTooLargeException", "Request must be smaller than 70167211 bytes"));
    }
    Ok(bytes)
}

impl Function {
    /// What is sent replaces; what is left out stays (L12).
    fn fill(&mut self, fields: &mut Fields) {
        let mut replace = |key: &str, old: &mut String| {
            if let Some(new) = fields.text(key) {
                *old = new;
            }
        };
        replace("Runtime", &mut self.runtime);
        replace("Handler", &mut self.handler);
        replace("Role", &mut self.role);
        replace("Description", &mut self.description);
        if let Some(memory) = fields.number("MemorySize") {
            self.memory_mb = memory;
        }
        if let Some(timeout) = fields.number("Timeout") {
            self.timeout_seconds = timeout;
        }
        if let Some(mut environment) = fields.object("Environment") {
            if let Some(variables) = environment.text_map("Variables") {
                self.environment = variables;
            }
            environment.done();
        }
        fields.keep(&OTHER, &mut self.other);
    }

    fn put_code(&mut self, zip: &[u8]) {
        self.code_sha256 = STANDARD.encode(Sha256::digest(zip));
        self.code_size = zip.len();
    }

    fn touch(&mut self, now: Moment) {
        self.modified = now;
        self.revision += 1;
    }

    fn revision_id(&self) -> String {
        // The time tells a function from an older one of the same name.
        format!("{:08x}-0000-4000-8000-{:012x}", self.created.as_millis() & 0xffff_ffff, self.revision)
    }

    /// For the role as it is now, and no other of the same name (I12).
    fn encrypt(&mut self, account: &Account) {
        self.encrypted_for = role_by_arn(account, &self.role).map(|role| role.id.clone()).unwrap_or_default();
    }

    fn check_revision(&self, wanted: Option<String>) -> Result<(), Refusal> {
        if wanted.is_none_or(|wanted| wanted == self.revision_id()) {
            return Ok(());
        }
        let message = "The Revision Id provided does not match the latest Revision Id. \
                       Call the GetFunction/GetAlias API to retrieve the latest Revision Id";
        Err(Refusal::new(412, "PreconditionFailedException", message))
    }
}

fn check(cx: &Context<'_>, function: &Function) -> Result<(), Refusal> {
    let runtime = function.runtime.as_str();
    if RETIRED.contains(&runtime) {
        return Err(invalid(format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. \
             We recommend you use a supported runtime while creating or updating functions."
        )));
    }
    if !RUNTIMES.contains(&runtime) {
        return Err(invalid(format!(
            "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: \
             [{}] or be a valid ARN",
            RUNTIMES.join(", ")
        )));
    }
    check_environment(&function.environment)?;
    let role_fits = Arn::read(&function.role).is_some_and(|arn| {
        arn.service == "iam"
            && arn.partition == cx.place.partition()
            && arn.rest.starts_with("role/")
            && arn.region.is_empty()
    });
    if !role_fits {
        let rule = "Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+";
        return Err(constraint("role", &function.role, rule));
    }
    Ok(())
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), Refusal> {
    const RESERVED: [&str; 6] = [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "_HANDLER",
    ];
    let size: usize = environment.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > ENVIRONMENT_LIMIT {
        return Err(invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided exceeded the 4KB limit.",
        ));
    }
    for key in environment.keys() {
        if RESERVED.contains(&key.as_str()) {
            return Err(invalid(format!(
                "Lambda was unable to configure your environment variables because the environment variables you have \
                 provided contains reserved keys that are currently not supported for modification. Reserved keys used \
                 in this request: {key}"
            )));
        }
        let spelled_right = key.len() >= 2 && key.starts_with(|c: char| c.is_ascii_alphabetic()) && spelled(key, "_");
        if !spelled_right {
            let rule = "Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+";
            return Err(constraint("environment.variables", key, rule));
        }
    }
    Ok(())
}

/// Whether Lambda can assume the role by now (L1).
fn check_role(cx: &Context<'_>, arn: &str) -> Result<(), Refusal> {
    if !arn.contains(&format!("::{}:", cx.place.account)) {
        return Err(Refusal::new(403, "AccessDeniedException", "Cross-account pass role is not allowed."));
    }
    let assumable = role_by_arn(cx.account, arn)
        .is_some_and(|role| role.assumable_at <= cx.now && policy::trusts(&role.trust, "lambda.amazonaws.com"));
    if assumable {
        return Ok(());
    }
    Err(invalid("The role defined for the function cannot be assumed by Lambda."))
}

fn get(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    fields.done();
    let (now, region) = (cx.now, cx.place.region.clone());
    let by = cx.by;
    let function = function(cx, &name)?;
    let mut body = json!({
        "Code": {
            "RepositoryType": "S3",
            "Location": format!("https://awslambda-{region}-tasks.s3.{region}.amazonaws.com/{}", function.name),
        },
        "Configuration": configuration(function, now),
    });
    if let Some(runs) = function.reserved {
        body["Concurrency"] = json!({ "ReservedConcurrentExecutions": runs });
    }
    // Without tags there is no such member, nor for who may not list them (L14).
    if !function.tags.is_empty() && by.may("lambda:ListTags", &function.arn, &Facts::new()).is_ok() {
        body["Tags"] = json!(function.tags);
    }
    Ok(Reply::json(200, body))
}

/// So many runs at once stay for all functions for which none are kept (L18).
const UNRESERVED: i64 = 10;

fn put_concurrency(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    let runs = fields.number("ReservedConcurrentExecutions").unwrap_or_default();
    fields.done();
    let most = cx.switches.concurrent_executions;
    let region = cx.account.region(&cx.place.region);
    let kept =
        region.functions.values().filter(|other| other.name != bare_name(&name)).filter_map(|other| other.reserved);
    if kept.sum::<i64>() + runs > most - UNRESERVED && runs > 0 {
        return Err(invalid(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below \
             its minimum value of [{UNRESERVED}]."
        )));
    }
    function(cx, &name)?.reserved = Some(runs);
    Ok(Reply::json(200, json!({ "ReservedConcurrentExecutions": runs })))
}

fn delete_concurrency(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    fields.done();
    function(cx, &name)?.reserved = None;
    Ok(Reply::empty(204))
}

fn get_configuration(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    fields.done();
    let now = cx.now;
    Ok(Reply::json(200, configuration(function(cx, &name)?, now)))
}

fn list(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (marker, limit) = (fields.text("Marker"), limit(fields.number("MaxItems"), cx.switches));
    fields.done();
    let (now, lag) = (cx.now, cx.switches.list_lag);
    let functions = &cx.account.region(&cx.place.region).functions;
    let page = page(functions, marker, limit, |_, function| function.created + lag <= now);
    let functions: Vec<Value> = page
        .items
        .iter()
        .map(|(_, function)| {
            let mut view = configuration(function, now);
            // The list knows no states.
            for key in ["State", "StateReason", "StateReasonCode", "LastUpdateStatus"] {
                view[key] = Value::Null;
            }
            view
        })
        .collect();
    Ok(Reply::json(200, json!({ "Functions": functions, "NextMarker": page.next })))
}

/// Neither a function that is not ready nor one whose last update is not done takes another update (L3).
fn check_updatable(function: &Function, now: Moment) -> Result<(), Refusal> {
    let state = function.state(now);
    if state == "Pending" || state == "Deleting" {
        return Err(conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the following state: {state}"
        )));
    }
    if function.last_update_status(now) == "InProgress" {
        let arn = &function.arn;
        return Err(conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
        )));
    }
    Ok(())
}

fn update_code(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    let zip = zip(Some(fields.text("ZipFile")))?;
    let architecture = architecture(&mut fields)?;
    let (dry_run, revision) = (fields.flag("DryRun").unwrap_or_default(), fields.text("RevisionId"));
    assert!(!fields.flag("Publish").unwrap_or_default(), "world: versions are not in this model");
    fields.done();
    let (now, updated_at) = (cx.now, cx.now + cx.switches.function_updating);
    let function = function(cx, &name)?;
    check_updatable(function, now)?;
    function.check_revision(revision)?;
    if RETIRED.contains(&function.runtime.as_str()) {
        let runtime = &function.runtime;
        return Err(invalid(format!("The runtime parameter of {runtime} is no longer supported for updating")));
    }
    if !dry_run {
        function.put_code(&zip);
        function.architecture = architecture.unwrap_or_else(|| function.architecture.clone());
        function.updated_at = updated_at;
        function.touch(now);
    }
    Ok(Reply::json(200, configuration(function, now)))
}

fn update_configuration(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    let (revision, new_role) = (fields.text("RevisionId"), fields.has("Role"));
    let (now, updated_at) = (cx.now, cx.now + cx.switches.function_updating);
    let old = function(cx, &name)?;
    check_updatable(old, now)?;
    old.check_revision(revision)?;
    let mut changed = old.clone();
    changed.fill(&mut fields);
    fields.done();
    check(cx, &changed)?;
    if new_role {
        check_role(cx, &changed.role)?;
    }
    // The same ARN again makes no new grant.
    if cx.account.region(&cx.place.region).functions[&changed.name].role != changed.role {
        changed.encrypt(cx.account);
    }
    changed.updated_at = updated_at;
    changed.touch(now);
    let view = configuration(&changed, now);
    cx.account.region(&cx.place.region).functions.insert(changed.name.clone(), changed);
    Ok(Reply::json(200, view))
}

/// Takes the resource policy along (L5).
fn delete(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    fields.done();
    let (now, gone_at) = (cx.now, cx.now + cx.switches.function_deleting);
    let function = function(cx, &name)?;
    let state = function.state(now);
    // L3
    if state == "Pending" {
        return Err(conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the following state: {state}"
        )));
    }
    function.deleted_at.get_or_insert(gone_at);
    cx.account.region(&cx.place.region).functions.retain(|_, function| function.deleted_at.is_none_or(|at| now < at));
    Ok(Reply::empty(204))
}

fn add_permission(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    let statement = Statement {
        sid: fields.text("StatementId").unwrap_or_default(),
        principal: fields.text("Principal").unwrap_or_default(),
        action: fields.text("Action").unwrap_or_default(),
        source_arn: fields.text("SourceArn"),
        source_account: fields.text("SourceAccount"),
    };
    let revision = fields.text("RevisionId");
    fields.done();
    check_statement(&statement)?;
    let function = function(cx, &name)?;
    function.check_revision(revision)?;
    // L7
    if function.policy.contains_key(&statement.sid) {
        let sid = &statement.sid;
        return Err(conflict(format!(
            "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
        )));
    }
    let text = statement_json(&statement, &function.arn).to_string();
    function.policy.insert(statement.sid.clone(), statement);
    function.revision += 1;
    Ok(Reply::json(201, json!({ "Statement": text })))
}

fn check_statement(statement: &Statement) -> Result<(), Refusal> {
    let principal_fits = statement.principal == "*"
        || statement.principal.starts_with("arn:")
        || statement.principal.len() == 12
        || statement.principal.contains(".amazonaws.com");
    if !principal_fits {
        return Err(invalid("The provided principal was invalid. Please check the principal and try again."));
    }
    Ok(())
}

fn remove_permission(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (name, sid) = (fields.label("functionName"), fields.label("statementId"));
    let revision = fields.text("RevisionId");
    fields.done();
    let function = function(cx, &name)?;
    function.check_revision(revision)?;
    if function.policy.remove(&sid).is_none() {
        let message = format!("Statement {sid} is not found in resource policy.");
        return Err(Refusal::new(404, "ResourceNotFoundException", message));
    }
    function.revision += 1;
    Ok(Reply::empty(204))
}

fn get_policy(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let name = fields.label("functionName");
    fields.done();
    let function = function(cx, &name)?;
    if function.policy.is_empty() {
        let message = "The resource you requested does not exist.";
        return Err(Refusal::new(404, "ResourceNotFoundException", message));
    }
    let statements: Vec<Value> =
        function.policy.values().map(|statement| statement_json(statement, &function.arn)).collect();
    let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }).to_string();
    Ok(Reply::json(200, json!({ "Policy": policy, "RevisionId": function.revision_id() })))
}

fn statement_json(statement: &Statement, arn: &str) -> Value {
    let principal = match statement.principal.as_str() {
        "*" => json!("*"),
        service if service.contains(".amazonaws.com") => json!({ "Service": service }),
        other => json!({ "AWS": other }),
    };
    let mut value = json!({
        "Sid": statement.sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": statement.action,
        "Resource": arn,
    });
    if let Some(source) = &statement.source_arn {
        value["Condition"]["ArnLike"]["AWS:SourceArn"] = json!(source);
    }
    if let Some(account) = &statement.source_account {
        value["Condition"]["StringEquals"]["AWS:SourceAccount"] = json!(account);
    }
    value
}

/// Of a function or of a mapping.
fn tags_of<'a>(cx: &'a mut Context<'_>, arn: &str) -> Result<&'a mut Tags, Refusal> {
    match arn.split_once(":event-source-mapping:") {
        Some((_, id)) => Ok(&mut mappings::mapping(cx, id)?.tags),
        None => Ok(&mut function(cx, arn)?.tags),
    }
}

fn list_tags(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let arn = fields.label("resourceArn");
    fields.done();
    Ok(Reply::json(200, json!({ "Tags": tags_of(cx, &arn)? })))
}

fn tag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (arn, new) = (fields.label("resourceArn"), fields.text_map("Tags").unwrap_or_default());
    fields.done();
    let tags = tags_of(cx, &arn)?;
    let mut all = tags.clone();
    all.extend(new);
    if let Some(fault) = rules::tags_fault(&all) {
        return Err(invalid(fault));
    }
    *tags = all;
    Ok(Reply::empty(204))
}

fn untag(cx: &mut Context<'_>, mut fields: Fields) -> Answer {
    let (arn, keys) = (fields.label("resourceArn"), fields.texts("tagKeys").unwrap_or_default());
    fields.done();
    tags_of(cx, &arn)?.retain(|key, _| !keys.contains(key));
    Ok(Reply::empty(204))
}

fn configuration(function: &Function, now: Moment) -> Value {
    let state = function.state(now);
    let (reason, reason_code) = match state {
        "Pending" => (Some("The function is being created."), Some("Creating")),
        "Failed" => (function.failure.as_deref(), Some("InternalError")),
        _ => (None, None),
    };
    let mut view = json!({
        "Architectures": [function.architecture],
        "CodeSha256": function.code_sha256,
        "CodeSize": function.code_size,
        "Description": function.description,
        "EphemeralStorage": { "Size": 512 },
        "FunctionArn": function.arn,
        "FunctionName": function.name,
        "Handler": function.handler,
        "LastModified": clock::lambda_date(function.modified),
        "LastUpdateStatus": function.last_update_status(now),
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{}", function.name) },
        "MemorySize": function.memory_mb,
        "PackageType": "Zip",
        "RevisionId": function.revision_id(),
        "Role": function.role,
        "Runtime": function.runtime,
        "State": state,
        "StateReason": reason,
        "StateReasonCode": reason_code,
        "Timeout": function.timeout_seconds,
        "TracingConfig": { "Mode": "PassThrough" },
        "Version": "$LATEST",
    });
    if !function.environment.is_empty() {
        view["Environment"] = json!({ "Variables": function.environment });
    }
    for (key, value) in &function.other {
        view[key] = value.clone();
    }
    view
}
