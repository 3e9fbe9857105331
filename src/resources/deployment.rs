//! The deployment: a snapshot of routes and integrations, made anew iff those change (G8).

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_apigatewayv2::types::DeploymentStatus;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::authorizer::AuthorizerKind;
use super::integration::IntegrationKind;
use super::model::ModelKind;
use super::route::RouteKind;
use super::{api, names, stage};
use crate::aws::failure::{Failure, Operation, Outcome};
use crate::engine::change::Differences;
use crate::engine::found::{Fields, Found, Observed, fields};
use crate::engine::key::Key;
use crate::engine::kind::{Facts, Kind, Part, Resource, Wanted};
use crate::engine::run::Ctx;
use crate::engine::scope::Scope;
use crate::error::Code;

pub struct DeploymentKind;

#[derive(Serialize)]
struct DeploymentSpec {
    /// Holds the hash of what it is a snapshot of.
    description: String,
}

/// Says which routes and integrations it is a snapshot of, by a hash of what they are and of their ids: whatever
/// was made anew has another id.
fn description(scope: &Scope) -> String {
    let routes = IntegrationKind.declare(scope).into_iter().zip(RouteKind.declare(scope));
    let parts: Vec<_> = routes
        .flat_map(|(integration, route)| [integration, route])
        .chain(AuthorizerKind.declare(scope))
        .chain(ModelKind.declare(scope))
        .map(|Wanted { key, resource, .. }| {
            let mut wanted = resource.wanted(scope);
            // Not in what earlier versions said, which nobody is to deploy anew for: what is the same for all, and what
            // counts only where it is used.
            wanted.remove("timeoutMs");
            for field in ["status", "answer", "responds", "identitySource", "requestModel"] {
                let is_unused =
                    |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || *value == json!([]);
                if wanted.get(field).is_some_and(is_unused) {
                    wanted.remove(field);
                }
            }
            json!([key, scope.id(&key), wanted])
        })
        .collect();
    let hash: String =
        Sha256::digest(json!(parts).to_string()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("chatctl: routes {hash}")
}

#[async_trait]
impl Kind for DeploymentKind {
    fn facts(&self) -> Facts {
        Facts {
            snapshot_of: &[names::ROUTE, names::INTEGRATION, names::AUTHORIZER, names::MODEL],
            referred_to_by: &[names::STAGE],
            ..api::child(names::DEPLOYMENT)
        }
    }

    fn declare(&self, scope: &Scope) -> Vec<Wanted> {
        let routes = names::routes(scope).into_iter().map(|route| names::route(&route));
        // Nobody meets an authorizer before it can be called.
        let permissions = [names::authorizer_permission(scope), names::own_authorizer_permission(scope)];
        let needs = routes.chain(permissions.into_iter().flatten()).collect();
        vec![Wanted::new(names::deployment(scope), needs, Self)]
    }

    /// Under their ids: which one is wanted is seen only beside routes and stage.
    async fn find(&self, ctx: &Ctx, _probe: &str) -> Result<Vec<Found>, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let key = &Key::new(names::DEPLOYMENT, "list");
        let deployments = ctx.all(
            "apigateway:GetDeployments",
            key,
            |token| ctx.aws.apigateway.get_deployments().api_id(&api_id).set_next_token(token).send(),
            |page| (page.items.unwrap_or_default(), page.next_token),
        );
        let deployments = deployments.await.optional()?.unwrap_or_default();
        Ok(deployments
            .into_iter()
            .map(|deployment| {
                let id = deployment.deployment_id().unwrap_or_default();
                let spec = DeploymentSpec { description: deployment.description().unwrap_or_default().to_owned() };
                let mut found = Found::new(Key::new(names::DEPLOYMENT, id), id, fields(&spec));
                match deployment.deployment_status() {
                    Some(DeploymentStatus::Pending) => found.settling = Some("the deployment to be live".to_owned()),
                    Some(DeploymentStatus::Failed) => {
                        let why = deployment.deployment_status_message().unwrap_or("no reason given");
                        found.broken = Some(format!("the deployment failed: {why}"));
                    }
                    _ => {}
                }
                found
            })
            .collect())
    }

    /// Finds the deployment that is wanted: one of the routes as they are now, and of several the one that the stage uses. None
    /// where a run died between a change of a route and the deployment after it (the stage is marked as outdated then), and
    /// none where there is no stage: nobody is connected, so a new one costs nothing.
    fn identify(&self, scope: &Scope, observed: &mut Observed) {
        let stage = observed.get(&names::stage(scope)).filter(|stage| !stage::is_outdated(stage));
        let Some(in_use) = stage.map(|stage| stage.text("deployment").to_owned()) else { return };
        let description = description(scope);
        let best = observed
            .of_kind(names::DEPLOYMENT)
            .filter(|found| found.text("description") == description && found.broken.is_none())
            .min_by_key(|found| (in_use != found.id, found.id.clone()))
            .map(|found| found.id.clone());
        for found in observed.found.iter_mut().filter(|found| found.key.kind == names::DEPLOYMENT) {
            if Some(&found.id) == best.as_ref() {
                found.key = names::deployment(scope);
            }
        }
    }

    /// Written on the stage, which points at it.
    async fn outdate(&self, ctx: &Ctx) -> Result<(), Failure> {
        stage::mark_outdated(ctx).await
    }

    async fn delete(&self, ctx: &Ctx, found: &Found) -> Result<(), Failure> {
        let api_id = names::api_id(&ctx.scope);
        ctx.call("apigateway:DeleteDeployment", &found.key, || {
            ctx.aws.apigateway.delete_deployment().api_id(&api_id).deployment_id(&found.id).send()
        })
        .await
        .gone()
    }
}

#[async_trait]
impl Resource for DeploymentKind {
    fn wanted(&self, scope: &Scope) -> Fields {
        fields(&DeploymentSpec { description: description(scope) })
    }

    /// Without the SDK's retries, whose pauses would waste the account's quota of one in 5 s (G1).
    async fn create(&self, ctx: &Ctx, key: &Key) -> Result<String, Failure> {
        let api_id = names::api_id(&ctx.scope);
        let description = description(&ctx.scope);
        let created = ctx
            .call("apigateway:CreateDeployment", key, || {
                ctx.aws
                    .apigateway
                    .create_deployment()
                    .api_id(&api_id)
                    .description(&description)
                    .customize()
                    .config_override(api::once(ctx))
                    .send()
            })
            .await?;
        let id = created.deployment_id.unwrap_or_default();
        if created.deployment_status == Some(DeploymentStatus::Pending) {
            wait_until_deployed(ctx, key, &api_id, &id).await?;
        }
        Ok(id)
    }

    /// Its only property is the hash, and another hash means another deployment.
    async fn update(&self, ctx: &Ctx, found: &Found, _differences: &Differences) -> Result<(), Failure> {
        self.create(ctx, &found.key).await.map(drop)
    }

    /// Under another name whenever the routes are others: CloudFormation takes no new snapshot of an old resource.
    fn template(&self, scope: &Scope, _key: &Key) -> Vec<Part> {
        let description = description(scope);
        let hash = description.rsplit(' ').next().unwrap_or_default();
        let logical_id = format!("Deployment{hash}");
        let properties = json!({ "ApiId": names::api_id(scope), "Description": description });
        vec![Part { logical_id, r#type: "AWS::ApiGatewayV2::Deployment", properties }]
    }
}

/// G9: pending for a while; a failed one says why.
async fn wait_until_deployed(ctx: &Ctx, key: &Key, api_id: &str, id: &str) -> Result<(), Failure> {
    const STEP: Duration = Duration::from_millis(450);
    const BUDGET: Duration = Duration::from_secs(60);
    let operation = Operation { service: "apigateway", name: "GetDeployment" };
    let fail = |code: Code, why: &str| Failure::ours(operation, &key.to_string(), code, why);
    ctx.waiting(key, "the deployment to be live");
    let begun = Instant::now();
    loop {
        if !ctx.pause(STEP).await {
            return Err(Failure::interrupted(operation, &key.to_string()));
        }
        let now = ctx
            .call("apigateway:GetDeployment", key, || {
                ctx.aws.apigateway.get_deployment().api_id(api_id).deployment_id(id).send()
            })
            .await?;
        match now.deployment_status() {
            Some(DeploymentStatus::Pending) if begun.elapsed() < BUDGET => {}
            Some(DeploymentStatus::Pending) => return Err(fail(Code::Timeout, "the deployment is still pending")),
            Some(DeploymentStatus::Failed) => {
                return Err(fail(Code::DeploymentFailed, now.deployment_status_message().unwrap_or("no reason given")));
            }
            _ => return Ok(()),
        }
    }
}
