//! The functions' invoke permissions: API Gateway may call each for its own route of our API, or for our authorizer, and
//! nobody else (L6).

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};

use super::names;
use crate::app::{FunctionName, Route, RouteKey};
use crate::aws::failure::{Failure, Outcome};
use crate::engine::change::{Change, Differences};
use crate::engine::found::{Fields, Found, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Permission, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;

pub struct PermissionKind;

/// Who may call which function, and by which statement.
struct Grant {
    caller: Caller,
    function: FunctionName,
    statement: String,
    label: String,
}

/// Of our API.
enum Caller {
    Route(RouteKey),
    /// G20
    Authorizer(Key),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Statement {
    pub principal: String,
    pub action: String,
    pub source_arn: String,
}

impl Statement {
    /// API Gateway may call the function from `source`, within our API.
    pub fn for_api_gateway(scope: &Scope, source: &str) -> Self {
        Self {
            // The same in every partition (L6).
            principal: "apigateway.amazonaws.com".to_owned(),
            action: "lambda:InvokeFunction".to_owned(),
            source_arn: scope.arn("execute-api", source),
        }
    }

    /// The same in CloudFormation, on `function`.
    pub fn properties(&self, function: &str) -> Value {
        json!({
            "FunctionName": function,
            "Action": self.action,
            "Principal": self.principal,
            "SourceArn": self.source_arn
        })
    }
}

/// The function that a permission belongs to, by its name.
fn function_of(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

impl Grant {
    fn statement(&self, scope: &Scope) -> Statement {
        let api = names::api_id(scope);
        let source = match &self.caller {
            Caller::Route(key) => format!("{api}/*/{key}"),
            Caller::Authorizer(key) => format!("{api}/authorizers/{}", scope.id(key)),
        };
        Statement::for_api_gateway(scope, &source)
    }
}

#[async_trait]
impl Kind for PermissionKind {
    fn facts(&self) -> Facts {
        Facts::of(names::PERMISSION).within(names::FUNCTION)
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let of_route = |route: &Route| {
            let grant = Grant {
                caller: Caller::Route(route.key.clone()),
                function: route.function.clone(),
                statement: names::statement_id(route),
                label: route.label(),
            };
            let needs = vec![names::function(scope, &route.function), names::api(scope)];
            Wanted::new(names::permission(scope, route), needs, grant)
        };
        let of_routes = scope.config.app.routes().iter().map(of_route);
        let authorizer = scope.config.app.authorizer().zip(names::wanted_authorizer(scope));
        let of_authorizer = authorizer.zip(names::own_authorizer_permission(scope)).map(|((ours, authorizer), key)| {
            let needs = vec![names::function(scope, &ours.name), names::api(scope), authorizer.clone()];
            let grant = Grant {
                caller: Caller::Authorizer(authorizer),
                function: ours.name.clone(),
                statement: names::STATEMENT_ID.to_owned(),
                label: ours.name.to_string(),
            };
            Wanted::new(key, needs, grant)
        });
        of_routes.chain(of_authorizer).collect()
    }

    async fn find(&self, ctx: &Ctx, probe: &str) -> Result<Vec<Found>, Failure> {
        let key = Key::new(names::PERMISSION, probe);
        let answer = ctx
            .call("lambda:GetPolicy", &key, || ctx.aws.lambda.get_policy().function_name(probe).send())
            .await
            .optional()?;
        let policy = answer.and_then(|answer| answer.policy).unwrap_or_default();
        Ok(statements(&policy)
            .into_iter()
            .map(|(id, statement)| Found::new(names::permission_of(probe, &id), id, fields(&statement)))
            .collect())
    }

    /// Parallel policy writes to one function lose statements (L7).
    fn lane(&self, change: &Change) -> Option<String> {
        Some(format!("policy of {}", function_of(&change.key.name)))
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let function = function_of(&found.key.name);
        ctx.call("lambda:RemovePermission", &found.key, || {
            ctx.aws.lambda.remove_permission().function_name(function).statement_id(&found.id).send()
        })
        .await
        .gone()
    }

    fn permissions(&self, scope: &Scope) -> Vec<Permission> {
        let functions = vec![names::function_pattern(scope)];
        vec![
            Permission::read(&["lambda:GetPolicy"], functions.clone()),
            Permission::write(&["lambda:AddPermission", "lambda:RemovePermission"], functions),
        ]
    }
}

#[async_trait]
impl Resource for Grant {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&self.statement(scope))
    }

    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let (id, wanted) = (&self.statement, self.statement(&ctx.scope));
        ctx.call("lambda:AddPermission", key, || {
            ctx.aws
                .lambda
                .add_permission()
                .function_name(function_of(&key.name))
                .statement_id(id)
                .action(&wanted.action)
                .principal(&wanted.principal)
                .source_arn(&wanted.source_arn)
                .send()
        })
        .await?;
        Ok(id.clone())
    }

    /// There is no way to change a statement.
    async fn update(&self, ctx: &Ctx, found: &Found, _differences: &Differences) -> Result<(), Failure> {
        PermissionKind.delete(ctx, found).await?;
        self.create(ctx, &found.key).await.map(drop)
    }

    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let properties = self.statement(scope).properties(&scope.id(&names::function(scope, &self.function)));
        let logical_id = names::logical_id(&self.label, "Permission");
        vec![Part { logical_id, r#type: "AWS::Lambda::Permission", properties }]
    }
}

/// The statements of a function's policy by id. A document of an unknown shape has none that is as wanted.
pub(super) fn statements(policy: &str) -> Vec<(String, Statement)> {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let listed = match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        Value::Null => vec![],
        single => vec![single.clone()],
    };
    listed
        .iter()
        .map(|statement| {
            let principal = match &statement["Principal"]["Service"] {
                Value::Null => &statement["Principal"],
                service => service,
            };
            let conditions = statement["Condition"].as_object().cloned().unwrap_or_default();
            let source = conditions.values().find_map(|condition| {
                let entries = condition.as_object()?;
                entries.iter().find(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn")).map(|(_, arn)| text(arn))
            });
            let found = Statement {
                principal: text(principal),
                action: text(&statement["Action"]),
                source_arn: source.unwrap_or_default(),
            };
            (text(&statement["Sid"]), found)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_are_read_in_every_spelling() {
        let policy = r#"{"Statement":{"Sid":"one","Principal":{"Service":"s"},"Action":"a","Condition":{"ArnLike":{"AWS:SourceArn":"x"}}}}"#;
        let found = statements(policy);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1.source_arn.as_str()), ("one", "x"));
        assert!(statements("").is_empty() && statements("[]").is_empty());
    }

    proptest! {
        /// Whatever Lambda answers, it is compared, not trusted.
        #[test]
        fn no_policy_text_panics(text in ".*", wrapped in "[a-z{}\\[\\]:,\"]{0,40}") {
            statements(&text);
            statements(&format!(r#"{{"Statement":{wrapped}}}"#));
        }
    }
}
