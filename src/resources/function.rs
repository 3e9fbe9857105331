//! The Lambda functions behind the routes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, Environment, FunctionCode, FunctionConfiguration, LastUpdateStatus, Runtime, State,
};
use serde::Serialize;
use serde_json::json;

use super::tags::{self, Tags};
use super::{log_group, names, role_policy};
use crate::app::{Delivery, Function, FunctionName, QueueEnd};
use crate::aws::failure::{Failure, Operation, Outcome};
use crate::aws::timeouts;
use crate::config::{DELIVERY_RATE, MESSAGE_SIZE};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, Observed, Owner, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Wanted, reference};
use crate::engine::run::Ctx;
use crate::engine::scope::{Scope, UNKNOWN};
use crate::engine::wait::Wait;

const LOOK_AGAIN: Duration = Duration::from_millis(120);

pub struct FunctionKind;

/// A function of the app.
struct AppFunction(Function);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FunctionSpec {
    runtime: String,
    architecture: String,
    handler: String,
    description: String,
    /// MB
    memory: i32,
    /// Seconds
    timeout: i32,
    role: String,
    environment: BTreeMap<String, String>,
    /// How often it may run at once; that much of the account's is kept for it.
    reserved_concurrency: Option<i32>,
    code_sha256: String,
    tags: Tags,
}

/// The role that `function` runs as: ours, or the one brought along.
fn role_of(scope: &Scope, function: &FunctionName) -> String {
    let brought = scope.config.role_arns.get(function.as_str()).cloned();
    brought.unwrap_or_else(|| names::role_arn(scope, &names::role(scope, function).name))
}

fn spec(scope: &Scope, function: &Function) -> FunctionSpec {
    let mut environment = BTreeMap::from([("TABLE_NAME".to_owned(), scope.config.table_name())]);
    if let Some(endpoint) = &scope.endpoints.emulator {
        // No real AWS: the function must call back where we do.
        environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint.clone());
        environment.insert("CHATCTL_CONNECTIONS_ENDPOINT".to_owned(), format!("{endpoint}/_aws/execute-api"));
    }
    environment.extend(function.environment.clone());
    if function.queue_end.is_some() {
        environment.insert("QUEUE_URL".to_owned(), scope.id(&names::messages(scope)));
    }
    if let (Some(QueueEnd::Receives), Delivery::Queue { rate }) = (function.queue_end, scope.config.delivery)
        && rate != DELIVERY_RATE
    {
        environment.insert("DELIVERY_RATE".to_owned(), rate.to_string());
    }
    let takes_messages = function.posts_to_connections && function.queue_end != Some(QueueEnd::Receives);
    if takes_messages && scope.config.message_size != MESSAGE_SIZE {
        environment.insert("MESSAGE_SIZE".to_owned(), (scope.config.message_size * 1024).to_string());
    }
    FunctionSpec {
        runtime: scope.config.runtime.clone(),
        architecture: scope.config.architecture.clone(),
        handler: format!("{}.handler", function.name),
        description: String::new(),
        memory: function.memory.or(scope.config.memory).unwrap_or(function.default_memory),
        timeout: function.timeout.unwrap_or(scope.config.function_timeout),
        role: role_of(scope, &function.name),
        environment,
        reserved_concurrency: scope.config.reserved_concurrency.filter(|_| is_behind_messages(scope, function)),
        code_sha256: scope.bundles.sha256(&function.name).unwrap_or(UNKNOWN).to_owned(),
        tags: scope.tags(),
    }
}

/// Whether the role that Lambda is to see is not there, unless it was brought along.
async fn role_is_gone(ctx: &Ctx, function: &FunctionName) -> bool {
    let is_brought = ctx.scope.config.role_arns.contains_key(function.as_str());
    !is_brought && matches!(role_policy::look_at_role(ctx, &names::role(&ctx.scope, function)).await, Ok(None))
}

/// Whether it is what everybody can call by sending.
fn is_behind_messages(scope: &Scope, function: &Function) -> bool {
    scope.config.app.route("sendmessage").is_some_and(|route| route.function == function.name)
}

/// Sets or takes away how often it may run at once.
async fn reserve(ctx: &Ctx, key: &Key, runs: Option<i32>) -> Result<(), Failure> {
    let lambda = &ctx.aws.lambda;
    match runs {
        Some(runs) => ctx
            .call("lambda:PutFunctionConcurrency", key, || {
                let put = lambda.put_function_concurrency().function_name(&key.name);
                put.reserved_concurrent_executions(runs).send()
            })
            .await
            .map(drop),
        None => ctx
            .call("lambda:DeleteFunctionConcurrency", key, || {
                lambda.delete_function_concurrency().function_name(&key.name).send()
            })
            .await
            .map(drop),
    }
}

#[async_trait]
impl Kind for FunctionKind {
    fn facts(&self) -> Facts {
        Facts {
            // Clients of the old deployment call a stray until the stage has another, and a mapping until it is gone.
            referred_to_by: &[names::STAGE, names::EVENT_SOURCE_MAPPING],
            // New functions are what most runs wait for last, and a look is cheap: there may be a hundred a second (L8).
            look_again: LOOK_AGAIN,
            ..Facts::of(names::FUNCTION)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let functions = scope.config.app.functions().iter();
        functions
            .map(|function| {
                // The log group before the first line (L13), the policy before the first cold start (L2).
                let mut needs = vec![names::log_group(scope, &function.name)];
                needs.extend(function.queue_end.map(|_| names::messages(scope)));
                if !scope.config.role_arns.contains_key(function.name.as_str()) {
                    needs.push(names::role(scope, &function.name));
                    needs.push(names::role_policy(scope, &function.name));
                }
                Wanted::new(names::function(scope, &function.name), needs, AppFunction(function.clone()))
            })
            .collect()
    }

    fn probes(&self, scope: &Scope) -> Vec<String> {
        let functions = scope.config.app.functions().iter();
        functions.map(|function| scope.config.function_name(&function.name)).collect()
    }

    /// Those that are wanted no more.
    fn hinted(&self, scope: &Scope, found: &[Found]) -> Vec<String> {
        names::once_wanted(scope, found).iter().map(|name| scope.config.function_name(name)).collect()
    }

    /// By GetFunction: it has the tags, and the largest quota of all the ways to look (L8).
    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = Key::new(names::FUNCTION, probe);
        let answer = ctx
            .call("lambda:GetFunction", &key, || ctx.aws.lambda.get_function().function_name(probe).send())
            .await
            .optional()?;
        let Some(answer) = answer else { return Ok(vec![]) };
        let all: Tags = answer.tags.unwrap_or_default().into_iter().collect();
        let owner = Owner::by_tags(&ctx.scope, &all);
        let (tags, _) = tags::split(all);
        let reserved_concurrency = answer.concurrency.and_then(|kept| kept.reserved_concurrent_executions);
        let Some(now) = answer.configuration else { return Ok(vec![]) };
        let fields = fields(&FunctionSpec {
            runtime: now.runtime().map_or("", Runtime::as_str).to_owned(),
            architecture: now.architectures().first().map_or("x86_64", Architecture::as_str).to_owned(),
            handler: now.handler().unwrap_or_default().to_owned(),
            description: now.description().unwrap_or_default().to_owned(),
            memory: now.memory_size().unwrap_or_default(),
            timeout: now.timeout().unwrap_or_default(),
            role: now.role().unwrap_or_default().to_owned(),
            environment: now
                .environment()
                .and_then(|environment| environment.variables())
                .map(|variables| variables.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
                .unwrap_or_default(),
            reserved_concurrency,
            code_sha256: now.code_sha256().unwrap_or_default().to_owned(),
            tags,
        });
        let mut found = Found { owner, ..Found::new(key, now.function_arn().unwrap_or_default(), fields) };
        found.settling = settling(&now);
        if now.state() == Some(&State::Failed) {
            found.broken = Some(now.state_reason().unwrap_or("the function failed to start").to_owned());
        }
        let changed = now.last_modified().and_then(epoch_seconds);
        found.attributes.extend(changed.map(|seconds| ("modified", seconds.to_string())));
        Ok(vec![found])
    }

    /// Marks a function as broken whose role is younger than it is. Such a role was made anew, under the same name it is another
    /// one (I9), and cannot decrypt the function's variables (I12): only a new function works. It shows in the dates alone, so a
    /// run that comes after a killed one sees it too.
    fn identify(&self, scope: &Scope, observed: &mut Observed) {
        for function in names::with_own_role(scope) {
            let seconds =
                |found: &Found, attribute| found.attribute(attribute).and_then(|text| text.parse::<i64>().ok());
            let role = observed.get(&names::role(scope, &function.name));
            let role_is_gone = role.is_none();
            let made = role.and_then(|role| seconds(role, "created"));
            let (key, arn) = (names::function(scope, &function.name), role_of(scope, &function.name));
            for found in observed.found.iter_mut().filter(|found| found.key == key && found.text("role") == arn) {
                let changed = seconds(found, "modified");
                if role_is_gone {
                    // Perhaps it is only not shown (I1): once it is, the dates tell whether this function can go on.
                    found.fields = fields(&spec(scope, function));
                } else if made > changed && changed.is_some() {
                    found.broken = Some("its role is another one by now".to_owned());
                }
            }
        }
    }

    fn shown_entries(&self, field: &str) -> Option<&'static [&'static str]> {
        (field == "environment").then_some(&["DELIVERY_RATE", "MESSAGE_SIZE", "QUEUE_URL", "TABLE_NAME"])
    }

    /// Its permissions go with it (L5).
    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let key = &found.key;
        ctx.call("lambda:DeleteFunction", key, || ctx.aws.lambda.delete_function().function_name(&key.name).send())
            .await
            .gone()
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let functions = vec![names::function_pattern(scope)];
        let reserves = scope.config.reserved_concurrency.is_some();
        let reserve = reserves.then(|| Permission::write(&["lambda:PutFunctionConcurrency"], functions.clone()));
        let mut all = vec![
            // GetFunction leaves out the tags, by which we know our own, for whoever may not list them.
            Permission::read(&["lambda:GetFunction", "lambda:ListTags"], functions.clone()),
            Permission::write(
                &[
                    "lambda:CreateFunction",
                    "lambda:DeleteFunction",
                    "lambda:DeleteFunctionConcurrency",
                    "lambda:TagResource",
                    "lambda:UntagResource",
                    "lambda:UpdateFunctionCode",
                    "lambda:UpdateFunctionConfiguration",
                ],
                functions,
            ),
        ];
        all.extend(reserve);
        all
    }
}

#[async_trait]
impl Resource for AppFunction {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&spec(scope, &self.0))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let function = &self.0;
        let spec = spec(&ctx.scope, function);
        let zip = Blob::new(ctx.scope.bundles.of(&function.name).zip.clone());
        let tags: HashMap<String, String> = ctx.scope.tags_at_creation().into_iter().collect();
        let create = || {
            ctx.aws
                .lambda
                .create_function()
                .function_name(&key.name)
                .runtime(Runtime::from(spec.runtime.as_str()))
                .architectures(Architecture::from(spec.architecture.as_str()))
                .handler(&spec.handler)
                .memory_size(spec.memory)
                .timeout(spec.timeout)
                .role(&spec.role)
                .environment(environment(&spec))
                .code(FunctionCode::builder().zip_file(zip.clone()).build())
                .set_tags(Some(tags.clone()))
                .customize()
                .config_override(upload(&zip))
                .send()
        };
        let is_gone = || async {
            let registered = log_group::registered(ctx, &function.name, key);
            role_is_gone(ctx, &function.name).await || registered.await.is_err_and(|failure| failure.is_moved_world())
        };
        let Some(turn) = ctx.first_try().await else {
            return Err(Failure::interrupted(
                Operation { service: "lambda", name: "CreateFunction" },
                &key.to_string(),
            ));
        };
        log_group::registered(ctx, &function.name, key).await?;
        let created = ctx.call_upon("lambda:CreateFunction", key, create, role_policy::ROLE_LATE, is_gone).await?;
        ctx.first_try_worked();
        drop(turn);
        if spec.reserved_concurrency.is_some() {
            reserve(ctx, key, spec.reserved_concurrency).await?;
        }
        Ok(created.function_arn.unwrap_or_else(|| names::function_arn(&ctx.scope, &function.name)))
    }

    async fn update(&self, ctx: &Ctx, found: &Found, differences: &Differences) -> Result<(), Failure> {
        let key = &found.key;
        let function = &self.0;
        let spec = spec(&ctx.scope, function);
        let lambda = &ctx.aws.lambda;
        let mut written = false;
        if differences.touches("codeSha256") || differences.touches("architecture") {
            let zip = Blob::new(ctx.scope.bundles.of(&function.name).zip.clone());
            ctx.call("lambda:UpdateFunctionCode", key, || {
                lambda
                    .update_function_code()
                    .function_name(&key.name)
                    .architectures(Architecture::from(spec.architecture.as_str()))
                    .zip_file(zip.clone())
                    .customize()
                    .config_override(upload(&zip))
                    .send()
            })
            .await?;
            written = true;
        }
        let configuration = ["runtime", "handler", "memory", "timeout", "description", "role", "environment"];
        if configuration.iter().any(|field| differences.touches(field)) {
            if written {
                settle(ctx, key).await?;
            }
            let update = || {
                lambda
                    .update_function_configuration()
                    .function_name(&key.name)
                    .runtime(Runtime::from(spec.runtime.as_str()))
                    .handler(&spec.handler)
                    .memory_size(spec.memory)
                    .timeout(spec.timeout)
                    .description(&spec.description)
                    .role(&spec.role)
                    .environment(environment(&spec))
                    .send()
            };
            let is_gone = || role_is_gone(ctx, &function.name);
            ctx.call_upon("lambda:UpdateFunctionConfiguration", key, update, role_policy::ROLE_LATE, is_gone).await?;
        }
        if differences.touches("reservedConcurrency") {
            reserve(ctx, key, spec.reserved_concurrency).await?;
        }
        retag(ctx, key, &found.id, differences).await
    }

    /// With the zips that `up` sends, which somebody puts into a bucket: a change of one is another key there.
    fn template(&self, scope: &Scope, key: &Key) -> Vec<Part> {
        let Self(function) = self;
        let spec = spec(scope, function);
        let mut properties = json!({
            "FunctionName": key.name,
            "Runtime": spec.runtime,
            "Architectures": [spec.architecture],
            "Handler": spec.handler,
            "MemorySize": spec.memory,
            "Timeout": spec.timeout,
            "Role": spec.role,
            "Environment": { "Variables": spec.environment },
            "Code": {
                "S3Bucket": reference("CodeBucket"),
                "S3Key": reference("CodePrefix") + &scope.bundles.of(&function.name).file_name(&function.name)
            },
            "Tags": tags::listed(spec.tags)
        });
        if let Some(runs) = spec.reserved_concurrency {
            properties["ReservedConcurrentExecutions"] = json!(runs);
        }
        let logical_id = names::logical_id(function.name.as_str(), "Function");
        vec![Part { logical_id, r#type: "AWS::Lambda::Function", properties }]
    }
}

/// Changes the tags of what Lambda knows by `arn`.
pub(super) async fn retag(ctx: &Ctx, key: &Key, arn: &str, differences: &Differences) -> Result<(), Failure> {
    let lambda = &ctx.aws.lambda;
    let (set, removed) = differences.entries("tags");
    if !set.is_empty() {
        ctx.call("lambda:TagResource", key, || {
            lambda.tag_resource().resource(arn).set_tags(Some(set.iter().cloned().collect())).send()
        })
        .await?;
    }
    if !removed.is_empty() {
        ctx.call("lambda:UntagResource", key, || {
            lambda.untag_resource().resource(arn).set_tag_keys(Some(removed.clone())).send()
        })
        .await?;
    }
    Ok(())
}

/// The zip travels in the call, a third larger (L11).
fn upload(zip: &Blob) -> aws_sdk_lambda::config::Builder {
    aws_sdk_lambda::config::Builder::new().timeout_config(timeouts(zip.as_ref().len() / 3 * 4))
}

/// Whether `sendMessage`, as it stands, sends to a queue, or may until it has settled.
pub async fn sends_to_queue(ctx: &Ctx) -> Result<bool, Failure> {
    let Some(sender) = ctx.scope.config.app.function("sendMessage") else { return Ok(false) };
    let found = FunctionKind.find(ctx, &ctx.scope.config.function_name(&sender.name)).await?;
    Ok(found.iter().any(|found| found.settling.is_some() || found.fields["environment"].get("QUEUE_URL").is_some()))
}

fn environment(spec: &FunctionSpec) -> Environment {
    Environment::builder().set_variables(Some(spec.environment.clone().into_iter().collect())).build()
}

/// What the function is busy with. Unknown states count as busy (L3).
fn settling(now: &FunctionConfiguration) -> Option<String> {
    let busy = match now.state() {
        None | Some(State::Active | State::Inactive) => now.last_update_status() == Some(&LastUpdateStatus::InProgress),
        Some(State::Failed) => false,
        Some(_) => true,
    };
    let state = now.state().map_or("", State::as_str);
    busy.then(|| {
        if state == "Active" { "the update to be live".to_owned() } else { format!("the function, which is {state}") }
    })
}

async fn settle(ctx: &Ctx, key: &Key) -> Result<(), Failure> {
    let wait = Wait {
        look: Operation { service: "lambda", name: "GetFunction" },
        step: LOOK_AGAIN,
        budget: Duration::from_secs(60),
        too_long: "the function has not settled in time",
    };
    let look = || async {
        let answer = ctx
            .call("lambda:GetFunction", key, || ctx.aws.lambda.get_function().function_name(&key.name).send())
            .await?;
        let busy = answer.configuration.as_ref().and_then(settling);
        if let Some(what) = &busy {
            ctx.waiting(key, what);
        }
        Ok(busy.is_none())
    };
    ctx.until(key, wait, look).await
}

/// Lambda writes dates as `2026-11-24T10:00:00.000+0000`.
fn epoch_seconds(text: &str) -> Option<i64> {
    let normal = text.strip_suffix("+0000").map_or_else(|| text.to_owned(), |date| format!("{date}Z"));
    time::OffsetDateTime::parse(&normal, &time::format_description::well_known::Rfc3339)
        .ok()
        .map(time::OffsetDateTime::unix_timestamp)
}
